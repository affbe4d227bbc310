-- Who is told when something happens, and what they have yet to be told.
--
--   webhook_deliveries PRIMARY KEY (webhook_id, kind, subject)   an event is one row an endpoint, however often it is written
-- A row is written in the transaction of what it tells of. It holds no text: that is made when it is sent, from the rows
-- that it names. `subject` is a booking's row number, for a check-in with a slash and the seat. No secret is here: the one
-- that an endpoint's signatures are made with follows from its number and the key that all instances share.

CREATE TABLE IF NOT EXISTS webhooks (
    id          BIGINT UNSIGNED                                    NOT NULL,
    url         VARCHAR(500) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_by  BIGINT UNSIGNED                                    NOT NULL,
    created_at  DATETIME(3)                                        NOT NULL,
    disabled_at DATETIME(3)                                        NULL,
    why         VARCHAR(200)                                       NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS webhook_deliveries (
    webhook_id BIGINT UNSIGNED                                   NOT NULL,
    kind       VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    subject    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at DATETIME(3)                                       NOT NULL,
    due_at     DATETIME(3)                                       NOT NULL,
    tries      INT UNSIGNED                                      NOT NULL,
    done_at    DATETIME(3)                                       NULL,
    PRIMARY KEY (webhook_id, kind, subject),
    KEY webhook_deliveries_due (webhook_id, done_at, due_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
