-- The ticketing schema. All dates are UTC. No row tells where it was written.
--
-- The keys carry the promises:
--   seat_claims PRIMARY KEY (performance_id, seat)             a seat is held or sold once
--   seat_claims UNIQUE (performance_id, account_id, slot)      an account has at most `account_limit` seats
--   bookings    UNIQUE (booking_no)                            a booking number names one booking, for ever
--   bookings    UNIQUE (account_id, idempotency_key)           asking twice books once
--   payments    UNIQUE (booking_id), UNIQUE (provider_ref)     one charge a booking
-- A free seat has no row. Ids are drawn by the application (time-ordered, random tail), never counted by the
-- server: whoever writes next need not know who wrote last.

CREATE TABLE IF NOT EXISTS accounts (
    id            BIGINT UNSIGNED NOT NULL,
    email         VARCHAR(254)    NOT NULL,
    name          VARCHAR(60)     NOT NULL,
    password_hash VARCHAR(255)    NOT NULL,
    created_at    DATETIME(3)     NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY accounts_email (email)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS halls (
    id       INT UNSIGNED NOT NULL,
    name_ko  VARCHAR(80)  NOT NULL,
    name_en  VARCHAR(80)  NOT NULL,
    capacity INT UNSIGNED NOT NULL,
    layout   JSON         NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS shows (
    id          INT UNSIGNED                          NOT NULL,
    slug        VARCHAR(60)                           NOT NULL,
    category    ENUM ('musical', 'concert', 'sports') NOT NULL,
    title_ko    VARCHAR(120)                          NOT NULL,
    title_en    VARCHAR(120)                          NOT NULL,
    tagline_ko  VARCHAR(200)                          NOT NULL,
    tagline_en  VARCHAR(200)                          NOT NULL,
    about_ko    TEXT                                  NOT NULL,
    about_en    TEXT                                  NOT NULL,
    cast_ko     VARCHAR(200)                          NOT NULL,
    cast_en     VARCHAR(200)                          NOT NULL,
    runtime_min SMALLINT UNSIGNED                     NOT NULL,
    age_min     TINYINT UNSIGNED                      NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY shows_slug (slug)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

-- The seat grades of a show. `grade` is the word that the hall's layout uses for a section.
CREATE TABLE IF NOT EXISTS price_grades (
    show_id   INT UNSIGNED     NOT NULL,
    grade     VARCHAR(8)       NOT NULL,
    rank      TINYINT UNSIGNED NOT NULL,
    name_ko   VARCHAR(40)      NOT NULL,
    name_en   VARCHAR(40)      NOT NULL,
    price_won INT UNSIGNED     NOT NULL,
    PRIMARY KEY (show_id, grade)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS performances (
    id            INT UNSIGNED     NOT NULL,
    show_id       INT UNSIGNED     NOT NULL,
    hall_id       INT UNSIGNED     NOT NULL,
    starts_at     DATETIME         NOT NULL,
    sale_opens_at DATETIME         NOT NULL,
    capacity      INT UNSIGNED     NOT NULL,
    account_limit TINYINT UNSIGNED NOT NULL,
    PRIMARY KEY (id),
    KEY performances_show (show_id, starts_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

-- `account_id` and `slot` are NULL where the house itself blocks a seat. A held seat has `hold_id` and `held_until`;
-- a sold one has `booking_id` and keeps the `hold_id` it came from.
CREATE TABLE IF NOT EXISTS seat_claims (
    performance_id INT UNSIGNED                                                 NOT NULL,
    seat           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin            NOT NULL,
    account_id     BIGINT UNSIGNED                                              NULL,
    slot           TINYINT UNSIGNED                                             NULL,
    state          ENUM ('held', 'sold', 'blocked')                             NOT NULL,
    hold_id        CHAR(26) CHARACTER SET ascii COLLATE ascii_bin               NULL,
    held_until     DATETIME(3)                                                  NULL,
    booking_id     BIGINT UNSIGNED                                              NULL,
    price_won      INT UNSIGNED                                                 NOT NULL,
    PRIMARY KEY (performance_id, seat),
    UNIQUE KEY seat_claims_limit (performance_id, account_id, slot),
    KEY seat_claims_hold (hold_id),
    KEY seat_claims_booking (booking_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS bookings (
    id              BIGINT UNSIGNED                                  NOT NULL,
    booking_no      CHAR(14) CHARACTER SET ascii COLLATE ascii_bin   NOT NULL,
    account_id      BIGINT UNSIGNED                                  NOT NULL,
    performance_id  INT UNSIGNED                                     NOT NULL,
    idempotency_key VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    seat_count      TINYINT UNSIGNED                                 NOT NULL,
    amount_won      INT UNSIGNED                                     NOT NULL,
    state           ENUM ('confirmed', 'cancelled')                  NOT NULL,
    created_at      DATETIME(3)                                      NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY bookings_no (booking_no),
    UNIQUE KEY bookings_idempotency (account_id, idempotency_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS payments (
    id           BIGINT UNSIGNED                                  NOT NULL,
    booking_id   BIGINT UNSIGNED                                  NOT NULL,
    provider     VARCHAR(16)                                      NOT NULL,
    provider_ref VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    amount_won   INT UNSIGNED                                     NOT NULL,
    state        ENUM ('captured', 'refunded')                    NOT NULL,
    created_at   DATETIME(3)                                      NOT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY payments_booking (booking_id),
    UNIQUE KEY payments_ref (provider_ref)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
