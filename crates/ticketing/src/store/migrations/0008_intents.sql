-- Payments with real money, written down before the provider is asked (see `payment/settle.rs`).
--
--   payment_intents PRIMARY KEY (account_id, idempotency_key)   asking twice is one charge
-- `asked_at` is when somebody last began to carry it out; whoever finds it much later asks the provider what became of
-- it. No card number is here, and none ever comes to us: `token` is the provider's word for this one payment.

CREATE TABLE IF NOT EXISTS payment_intents (
    account_id      BIGINT UNSIGNED                                    NOT NULL,
    idempotency_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin  NOT NULL,
    performance_id  INT UNSIGNED                                       NOT NULL,
    hold_id         CHAR(26) CHARACTER SET ascii COLLATE ascii_bin     NOT NULL,
    amount_won      INT UNSIGNED                                       NOT NULL,
    provider        VARCHAR(16)                                        NOT NULL,
    method          VARCHAR(16)                                        NOT NULL,
    token           VARCHAR(200)                                       NOT NULL,
    state           ENUM ('open', 'booked', 'refunding', 'closed')     NOT NULL,
    asked_at        DATETIME(3)                                        NOT NULL,
    PRIMARY KEY (account_id, idempotency_key),
    KEY payment_intents_due (state, asked_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
