-- Why an organiser gave a booking back, in words that its visitor reads.

CREATE TABLE IF NOT EXISTS refund_reasons (
    booking_id  BIGINT UNSIGNED                                                       NOT NULL,
    reason      ENUM ('show_cancelled', 'cast_changed', 'seat', 'asked', 'unfair')    NOT NULL,
    note        VARCHAR(200)                                                          NOT NULL,
    refunded_by BIGINT UNSIGNED                                                       NOT NULL,
    created_at  DATETIME(3)                                                           NOT NULL,
    PRIMARY KEY (booking_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
