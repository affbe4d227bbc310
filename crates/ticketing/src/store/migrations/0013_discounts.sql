-- Kinds of tickets (권종), and what was chosen for the seats of a hold. A hold's name changes with its prices, so what is
-- sold under a name costs what this name says.

CREATE TABLE IF NOT EXISTS discounts (
    show_id   INT UNSIGNED                                      NOT NULL,
    id        VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    rank      TINYINT UNSIGNED                                  NOT NULL,
    name_ko   VARCHAR(60)                                       NOT NULL,
    name_en   VARCHAR(60)                                       NOT NULL,
    percent   TINYINT UNSIGNED                                  NULL,
    won       INT UNSIGNED                                      NULL,
    grades    VARCHAR(40)                                       NOT NULL,
    seats_max TINYINT UNSIGNED                                  NULL,
    proof_ko  VARCHAR(100)                                      NOT NULL,
    proof_en  VARCHAR(100)                                      NOT NULL,
    from_at   DATETIME                                          NOT NULL,
    until_at  DATETIME                                          NOT NULL,
    PRIMARY KEY (show_id, id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

-- `discount` is empty where the seat costs its full price.
CREATE TABLE IF NOT EXISTS hold_discounts (
    hold_id  CHAR(26) CHARACTER SET ascii COLLATE ascii_bin    NOT NULL,
    seat     VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    discount VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    full_won INT UNSIGNED                                      NOT NULL,
    PRIMARY KEY (hold_id, seat)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
