ALTER TABLE change_log ADD COLUMN cut_offs TEXT;
CREATE INDEX change_log_cut_offs ON change_log (tenant, sequence) WHERE cut_offs IS NOT NULL;
