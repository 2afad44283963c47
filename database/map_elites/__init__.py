"""The MAP-Elites archive of a campaign, true to every score in the transaction that changes it."""
