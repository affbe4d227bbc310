-- Who may see and do more than a visitor, what they did, and who came through the doors.
--
--   roles       PRIMARY KEY (account_id, role)
--   audit_log   what was done with a role; rows are only ever added
--   door_scans  PRIMARY KEY (device, number)   a scan that is sent twice is one scan
-- Who was first is not stored: it follows from the scans (`admission::merge`), in whatever order doors send them.

CREATE TABLE IF NOT EXISTS roles (
    account_id BIGINT UNSIGNED             NOT NULL,
    role       ENUM ('organiser', 'door')  NOT NULL,
    granted_by BIGINT UNSIGNED             NOT NULL,
    granted_at DATETIME(3)                 NOT NULL,
    PRIMARY KEY (account_id, role)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS audit_log (
    id         BIGINT UNSIGNED NOT NULL,
    account_id BIGINT UNSIGNED NOT NULL,
    what       VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    detail     VARCHAR(400)    NOT NULL,
    created_at DATETIME(3)     NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;

CREATE TABLE IF NOT EXISTS door_scans (
    device         VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    number         INT UNSIGNED                                      NOT NULL,
    performance_id INT UNSIGNED                                      NOT NULL,
    booking_id     BIGINT UNSIGNED                                   NOT NULL,
    seat           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    account_id     BIGINT UNSIGNED                                   NOT NULL,
    scanned_at     DATETIME(3)                                       NOT NULL,
    PRIMARY KEY (device, number),
    KEY door_scans_ticket (performance_id, booking_id, seat)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci;
