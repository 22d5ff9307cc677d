-- The framework (or framework:control) all of whose policies ran, where it was
-- all that narrowed the choice; '' otherwise.
ALTER TABLE evaluation ADD COLUMN framework TEXT NOT NULL DEFAULT '';

-- Which evaluations judged a snapshot: what changed is told by comparing with
-- the snapshot before.
CREATE INDEX evaluation_of_snapshot ON evaluation_workspace (snapshot_id, evaluation_id, place);
