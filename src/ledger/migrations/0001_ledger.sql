-- The same text runs on SQLite and PostgreSQL, so there is nothing here but TEXT, BIGINT and
-- DOUBLE PRECISION. Instants are milliseconds since the Unix epoch. `state` columns are JSON.

CREATE TABLE app (
    app_id TEXT NOT NULL PRIMARY KEY,
    state  TEXT NOT NULL
);

CREATE TABLE workflow (
    workflow    BIGINT NOT NULL PRIMARY KEY,
    app_id      TEXT   NOT NULL,
    workflow_id TEXT   NOT NULL,
    state       TEXT   NOT NULL,
    UNIQUE (app_id, workflow_id)
);

-- One row per number that only grows. Histograms: `value` is the sum of seconds, `bounds` and
-- `counts` are lists of equal meaning as in the exposition, but not cumulative. `shown_…` is what
-- may be shown of it, where that isn't all.
CREATE TABLE series (
    workflow     BIGINT           NOT NULL,
    total        TEXT             NOT NULL,
    labels       TEXT             NOT NULL,
    value        DOUBLE PRECISION NOT NULL,
    bounds       TEXT,
    counts       TEXT,
    start_ms     BIGINT           NOT NULL,
    shown_value  DOUBLE PRECISION,
    shown_counts TEXT,
    PRIMARY KEY (workflow, total, labels)
);

-- The identities that keep counting exact: one row per run that is followed or was counted.
-- `started_ms` is the last instant that the attempt's start can mean, `age_ms` is what retention
-- goes by, `reading` is the reading of the list that met the run first, or
-- that counted it.
CREATE TABLE run (
    workflow   BIGINT NOT NULL,
    run_id     TEXT   NOT NULL,
    phase      TEXT   NOT NULL,
    started_ms BIGINT,
    age_ms     BIGINT NOT NULL,
    reading    BIGINT NOT NULL,
    status     TEXT,
    origin     TEXT,
    since_ms   BIGINT,
    PRIMARY KEY (workflow, run_id)
);

CREATE INDEX run_open ON run (workflow) WHERE phase IN ('open', 'reopened');
CREATE INDEX run_age ON run (age_ms);
