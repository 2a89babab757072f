-- What tells attempts at a run apart are their instants. `ended_ms` is the last instant that the end
-- of the attempt counted last can mean; the greatest number if it has none. It is missing where
-- whatever ends next counts, and where an older version wrote last.

ALTER TABLE run ADD COLUMN ended_ms BIGINT;
