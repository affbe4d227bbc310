-- The waiting list (예매대기). `id` grows with time, so it is the place in the line.
--
--   waitlist UNIQUE (performance_id, account_id, grade)   somebody waits once for a grade
-- An offer is a hold like any other, only longer: `hold_id` names it, and the keys of `seat_claims` keep its promises.

CREATE TABLE IF NOT EXISTS waitlist (
    id             BIGINT UNSIGNED                                 NOT NULL,
    performance_id INT UNSIGNED                                    NOT NULL,
    account_id     BIGINT UNSIGNED                                 NOT NULL,
    grade          VARCHAR(8)                                      NOT NULL,
    seats          TINYINT UNSIGNED                                NOT NULL,
    state          ENUM ('waiting', 'offered')                     NOT NULL,
    hold_id        CHAR(26) CHARACTER SET ascii COLLATE ascii_bin  NULL,
    offer_until    DATETIME(3)                                     NULL,
    created_at     DATETIME(3)                                     NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY waitlist_once (performance_id, account_id, grade),
    KEY waitlist_line (state, performance_id),
    KEY waitlist_hold (hold_id),
    KEY waitlist_account (account_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
