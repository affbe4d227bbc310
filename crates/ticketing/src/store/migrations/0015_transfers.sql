-- Bank transfers that are waited for. The seats are a hold like any other, only longer; a booking is made when the money is
-- there, so that what is booked is paid.
--
--   transfers UNIQUE (hold_id)   one transfer for a hold
-- `due_at` is when the money must be there; the claims last until `released_at`, the published moment at which all that
-- was not paid comes back together.

CREATE TABLE IF NOT EXISTS transfers (
    id             BIGINT UNSIGNED                                 NOT NULL,
    hold_id        CHAR(26) CHARACTER SET ascii COLLATE ascii_bin  NOT NULL,
    performance_id INT UNSIGNED                                    NOT NULL,
    account_id     BIGINT UNSIGNED                                 NOT NULL,
    seat_count     TINYINT UNSIGNED                                NOT NULL,
    amount_won     INT UNSIGNED                                    NOT NULL,
    depositor      VARCHAR(30)                                     NOT NULL,
    state          ENUM ('waiting', 'paid', 'left')                NOT NULL,
    due_at         DATETIME(3)                                     NOT NULL,
    released_at    DATETIME(3)                                     NOT NULL,
    created_at     DATETIME(3)                                     NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY transfers_hold (hold_id),
    KEY transfers_account (account_id),
    KEY transfers_state (state, due_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
