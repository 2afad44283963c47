-- How many nodes ended how, told from an index alone.
CREATE INDEX nodes_by_state ON nodes (campaign_id, status, outcome);
