-- A research program: a name that several campaigns share.
ALTER TABLE campaigns ADD COLUMN program TEXT;
CREATE INDEX campaigns_by_program ON campaigns (program, id) WHERE program IS NOT NULL;
