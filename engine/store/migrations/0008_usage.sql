-- What the audit log tells of a token besides; NULL where the log was an export
-- of before. calls: JSON list of {service, action, events, refused}.
ALTER TABLE token_activity ADD COLUMN days INTEGER;
ALTER TABLE token_activity ADD COLUMN succeeded INTEGER;
ALTER TABLE token_activity ADD COLUMN refused INTEGER;
ALTER TABLE token_activity ADD COLUMN addresses INTEGER;
ALTER TABLE token_activity ADD COLUMN top_address TEXT;
ALTER TABLE token_activity ADD COLUMN calls TEXT;
ALTER TABLE token_activity ADD COLUMN more_calls INTEGER;
