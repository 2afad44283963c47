"""The Engineer: the job daemon, the stage cascade, the supervisors and the isolation that candidates run in."""
