-- What was cancelled, and whether its money went back. `seats` are the names that the booking had: its claims are gone.
--
--   cancellations PRIMARY KEY (booking_id)   a booking is cancelled once
-- The seats stay in `seat_claims` as `blocked` with `held_until` = the moment of their release; from then on they are
-- free like any claim that ran out, whoever looks, once. No job has to run for it.

CREATE TABLE IF NOT EXISTS cancellations (
    booking_id  BIGINT UNSIGNED           NOT NULL,
    seats       VARCHAR(255)              NOT NULL,
    fee_won     INT UNSIGNED              NOT NULL,
    refund_won  INT UNSIGNED              NOT NULL,
    state       ENUM ('owed', 'refunded') NOT NULL,
    released_at DATETIME(3)               NOT NULL,
    created_at  DATETIME(3)               NOT NULL,
    PRIMARY KEY (booking_id),
    KEY cancellations_owed (state, created_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
