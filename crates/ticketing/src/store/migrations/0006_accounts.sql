-- What happens to accounts after they were made, and the letters that are written.
--
--   account_states   what `accounts` does not say: confirmed, closed, since when sessions count
--   attempts         how often something was tried lately; `subject` is a keyed hash, no address
--   outbox           PRIMARY KEY (kind, ref): a letter is written once. It holds no text and no secret: both are made
--                    when it is sent, from the rows that it names, so an erased account takes its letters with it.

CREATE TABLE IF NOT EXISTS account_states (
    account_id    BIGINT UNSIGNED NOT NULL,
    confirmed_at  DATETIME(3)     NULL,
    closed_at     DATETIME(3)     NULL,
    sessions_from BIGINT UNSIGNED NOT NULL,
    changed_at    DATETIME(3)     NOT NULL,
    PRIMARY KEY (account_id),
    KEY account_states_changed (changed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS attempts (
    kind    VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    subject CHAR(43) CHARACTER SET ascii COLLATE ascii_bin   NOT NULL,
    tries   INT UNSIGNED                                     NOT NULL,
    until   DATETIME(3)                                      NOT NULL,
    PRIMARY KEY (kind, subject)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS outbox (
    kind       VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    ref        BIGINT UNSIGNED                                   NOT NULL,
    account_id BIGINT UNSIGNED                                   NOT NULL,
    created_at DATETIME(3)                                       NOT NULL,
    claimed_at DATETIME(3)                                       NULL,
    sent_at    DATETIME(3)                                       NULL,
    PRIMARY KEY (kind, ref),
    KEY outbox_due (sent_at, created_at),
    KEY outbox_account (account_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
