-- For whom the house keeps a seat back. That it is kept back stands in `seat_claims` (`blocked`, without a deadline).

CREATE TABLE IF NOT EXISTS guest_seats (
    performance_id INT UNSIGNED                                     NOT NULL,
    seat           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    note           VARCHAR(60)                                      NOT NULL,
    kept_by        BIGINT UNSIGNED                                  NOT NULL,
    kept_at        DATETIME(3)                                      NOT NULL,
    PRIMARY KEY (performance_id, seat)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
