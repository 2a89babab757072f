-- Histograms also have exponential buckets: `native` holds all, `shown_native` what may be shown of
-- it, as JSON. They are missing where an older version wrote last.

ALTER TABLE series ADD COLUMN native TEXT;
ALTER TABLE series ADD COLUMN shown_native TEXT;
