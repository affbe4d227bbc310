-- The waiting room. Only what cannot be computed again is here (see `queue/mod.rs`).
--
--   queue_entries PRIMARY KEY (performance_id, entry)   an account waits once, however many windows it opens
--   queue_entries UNIQUE (performance_id, number)       a number that was given is nobody else's
-- `entry` is a keyed hash of sale and account. An early entry's number follows from the seed and all early entries,
-- so it is not written down; `number` is that of somebody who came later, or came again after a turn.

CREATE TABLE IF NOT EXISTS queue_sales (
    performance_id INT UNSIGNED                                    NOT NULL,
    lobby_opens_at DATETIME(3)                                     NOT NULL,
    opens_at       DATETIME(3)                                     NOT NULL,
    seed           CHAR(64) CHARACTER SET ascii COLLATE ascii_bin  NOT NULL,
    seed_hash      CHAR(64) CHARACTER SET ascii COLLATE ascii_bin  NOT NULL,
    early          INT UNSIGNED                                    NULL,
    given          INT UNSIGNED                                    NOT NULL,
    serving        INT UNSIGNED                                    NOT NULL,
    pace_milli     INT UNSIGNED                                    NOT NULL,
    served_at      DATETIME(3)                                     NOT NULL,
    PRIMARY KEY (performance_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS queue_entries (
    performance_id INT UNSIGNED     NOT NULL,
    entry          BIGINT UNSIGNED  NOT NULL,
    class          TINYINT UNSIGNED NOT NULL,
    early          TINYINT UNSIGNED NOT NULL,
    number         INT UNSIGNED     NULL,
    turn_until     DATETIME(3)      NULL,
    PRIMARY KEY (performance_id, entry),
    UNIQUE KEY queue_entries_number (performance_id, number),
    KEY queue_entries_turn (performance_id, turn_until)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
