-- Programs that ask in a partner's name, and the people they book for.
--
--   api_keys       a key's secret is not here, only its SHA-256: 32 random bytes need no slow hash
--   api_customers  UNIQUE (partner, reference): a partner's customer is one account, so a limit per person holds
-- Keys of one partner share its customers and bookings: a new key goes on where a revoked one stopped.

CREATE TABLE IF NOT EXISTS api_keys (
    id          BIGINT UNSIGNED                                  NOT NULL,
    partner     VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    scopes      VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    secret_hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin   NOT NULL,
    per_second  INT UNSIGNED                                     NOT NULL,
    created_by  BIGINT UNSIGNED                                  NOT NULL,
    created_at  DATETIME(3)                                      NOT NULL,
    revoked_at  DATETIME(3)                                      NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS api_customers (
    account_id BIGINT UNSIGNED                                  NOT NULL,
    partner    VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reference  VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    PRIMARY KEY (account_id),
    UNIQUE KEY api_customers_reference (partner, reference)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
