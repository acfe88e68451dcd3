-- Parents and children that an operator brings back.

-- Whether a run that goes on goes on with the sub-workflows of its that ended badly, instead of
-- starting others: it was resumed, or one of its children was brought back.
ALTER TABLE {schema}.workflows ADD COLUMN resumes boolean NOT NULL DEFAULT false;
