//! What organisers and doors read and write.

use mysql_async::{Row, prelude::Queryable};

use super::{
    Store, StoreError,
    booking::packet,
    hook::{Source, tell_sql},
    sql::{as_ms, moment, quoted},
};
use crate::{
    admission::Scan,
    ids::{BookingNo, row_id},
    role::Role,
    webhook::Kind,
};

type Answer<T> = Result<T, StoreError>;

/// How a performance sells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sales {
    /// Seats sold.
    pub sold: u64,
    /// Seats held by somebody who has not paid yet.
    pub held: u64,
    /// Seats that the house keeps back, or that wait for their release.
    pub blocked: u64,
    /// What was paid for the seats that are sold.
    pub sold_won: u64,
    /// Fees kept of what was cancelled.
    pub fees_won: u64,
    /// Bookings that were cancelled.
    pub cancelled: u64,
    /// Seats whose ticket came through a door.
    pub entered: u64,
}

/// A booking as its organiser sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Row number.
    pub id: u64,
    /// Number for people.
    pub no: BookingNo,
    /// Whether it stands.
    pub confirmed: bool,
    /// Its seats, by name.
    pub seats: Vec<String>,
    /// What was paid.
    pub amount_won: u64,
    /// Kept back, if it was cancelled.
    pub fee_won: u64,
    /// Given back, if it was cancelled.
    pub refund_won: u64,
    /// When it was made.
    pub created_ms: u64,
    /// Whose; empty if the account was closed.
    pub name: String,
    /// Their address.
    pub email: String,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// When.
    pub at_ms: u64,
    /// Who: an address, or a number if the account is closed.
    pub who: String,
    /// What was done.
    pub what: String,
    /// To what.
    pub detail: String,
}

impl Store {
    /// The roles that were given to an account.
    pub async fn roles(&self, account: u64) -> Answer<Vec<Role>> {
        let sql = format!("SELECT CAST(role AS CHAR) FROM roles WHERE account_id = {account}");
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let words: Vec<String> = conn.query(sql).await?;
                Ok(words.iter().filter_map(|word| Role::from_word(word)).collect())
            })
        })
        .await
    }

    /// Everybody with a role: address and role.
    pub async fn staff(&self) -> Answer<Vec<(String, Role)>> {
        let sql = "SELECT a.email, CAST(r.role AS CHAR) FROM roles r JOIN accounts a ON a.id = r.account_id ORDER BY 1, 2";
        self.run(move |conn| {
            Box::pin(async move {
                let rows: Vec<(String, String)> = conn.query(sql).await?;
                Ok(rows
                    .into_iter()
                    .filter_map(|(email, role)| Some((email, Role::from_word(&role)?)))
                    .collect())
            })
        })
        .await
    }

    /// Gives or takes a role, and writes down who did it.
    pub async fn set_role(&self, by: u64, account: u64, role: Role, has: bool, now_ms: u64) -> Answer<()> {
        let change = if has {
            format!(
                "INSERT IGNORE INTO roles (account_id, role, granted_by, granted_at) VALUES ({account}, '{}', {by}, {})",
                role.word(),
                moment(now_ms)
            )
        } else {
            format!("DELETE FROM roles WHERE account_id = {account} AND role = '{}'", role.word())
        };
        let what = if has { "role_given" } else { "role_taken" };
        let audit = audit_sql(by, what, &format!("{} to account {account}", role.word()), now_ms);
        self.packet_of(format!("START TRANSACTION; {change}; {audit}; COMMIT")).await
    }

    /// Writes down what somebody did with a role.
    pub async fn audit(&self, by: u64, what: &'static str, detail: &str, now_ms: u64) -> Answer<()> {
        self.packet_of(audit_sql(by, what, detail, now_ms)).await
    }

    /// The newest lines of the audit log.
    pub async fn audited(&self, most: u32) -> Answer<Vec<Audited>> {
        let sql = format!(
            "SELECT {}, COALESCE(NULLIF(a.email, ''), CAST(l.account_id AS CHAR)), l.what, l.detail FROM audit_log l \
             LEFT JOIN accounts a ON a.id = l.account_id ORDER BY l.id DESC LIMIT {most}",
            as_ms("l.created_at")
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<(u64, String, String, String)> = conn.query(sql).await?;
                Ok(rows
                    .into_iter()
                    .map(|(at_ms, who, what, detail)| Audited { at_ms, who, what, detail })
                    .collect())
            })
        })
        .await
    }

    /// How every performance sells, by its number.
    pub async fn sales(&self, now_ms: u64) -> Answer<Vec<(u32, Sales)>> {
        let sql = sales_sql(now_ms);
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().map(sales).collect())
            })
        })
        .await
    }

    /// Every booking of a performance, the oldest first.
    pub async fn lines(&self, performance: u32) -> Answer<Vec<Line>> {
        let sql = format!(
            "SELECT b.id, b.booking_no, CAST(b.state AS CHAR) AS state, b.amount_won, {} AS at_ms, a.name, a.email, \
             COALESCE(x.seats, GROUP_CONCAT(c.seat ORDER BY c.seat), '') AS seats, COALESCE(x.fee_won, 0) AS fee_won, \
             COALESCE(x.refund_won, 0) AS refund_won FROM bookings b JOIN accounts a ON a.id = b.account_id \
             LEFT JOIN cancellations x ON x.booking_id = b.id LEFT JOIN seat_claims c ON c.booking_id = b.id \
             WHERE b.performance_id = {performance} GROUP BY b.id ORDER BY b.id",
            as_ms("b.created_at")
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.iter().filter_map(line).collect())
            })
        })
        .await
    }

    /// Writes scans down; those that were sent before stay as they were.
    pub async fn add_scans(&self, performance: u32, by: u64, scans: &[Scan], now_ms: u64) -> Answer<()> {
        if scans.is_empty() {
            return Ok(());
        }
        let rows: Vec<String> = scans
            .iter()
            .map(|s| {
                format!(
                    "({}, {}, {performance}, {}, {}, {by}, {})",
                    quoted(&s.device),
                    s.number,
                    s.booking,
                    quoted(&s.seat),
                    moment(s.at_ms)
                )
            })
            .collect();
        let keys: Vec<(String, u32)> = scans.iter().map(|s| (s.device.clone(), s.number)).collect();
        self.packet_of(format!(
            "START TRANSACTION; INSERT IGNORE INTO door_scans \
             (device, number, performance_id, booking_id, seat, account_id, scanned_at) VALUES {}; {}; COMMIT",
            rows.join(","),
            tell_sql(Kind::CheckIn, &Source::Scans(performance, &keys), now_ms)
        ))
        .await
    }

    /// Every scan at the doors of a performance.
    pub async fn scans(&self, performance: u32) -> Answer<Vec<Scan>> {
        let sql = format!(
            "SELECT booking_id, seat, device, number, {} FROM door_scans WHERE performance_id = {performance}",
            as_ms("scanned_at")
        );
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move {
                let rows: Vec<(u64, String, String, u32, u64)> = conn.query(sql).await?;
                Ok(rows
                    .into_iter()
                    .map(|(booking, seat, device, number, at_ms)| Scan {
                        booking,
                        seat,
                        device,
                        number,
                        at_ms,
                    })
                    .collect())
            })
        })
        .await
    }

    async fn packet_of(&self, sql: String) -> Answer<()> {
        self.run(move |conn| {
            let sql = sql.clone();
            Box::pin(async move { packet(conn, sql).await })
        })
        .await
    }
}

pub(super) fn audit_sql(by: u64, what: &str, detail: &str, now_ms: u64) -> String {
    let detail: String = detail.chars().take(400).collect();
    format!(
        "INSERT INTO audit_log (id, account_id, what, detail, created_at) VALUES ({}, {by}, {}, {}, {})",
        row_id(now_ms),
        quoted(what),
        quoted(&detail),
        moment(now_ms)
    )
}

fn sales_sql(now_ms: u64) -> String {
    let now = moment(now_ms);
    format!(
        "SELECT p.id, COALESCE(c.sold, 0) AS sold, COALESCE(c.held, 0) AS held, COALESCE(c.blocked, 0) AS blocked, \
         COALESCE(c.sold_won, 0) AS sold_won, COALESCE(x.fees_won, 0) AS fees_won, COALESCE(x.cancelled, 0) AS cancelled, \
         COALESCE(d.entered, 0) AS entered FROM performances p \
         LEFT JOIN (SELECT performance_id, CAST(SUM(state = 'sold') AS UNSIGNED) AS sold, \
             CAST(SUM(state = 'held' AND held_until > {now}) AS UNSIGNED) AS held, \
             CAST(SUM(state = 'blocked' AND (held_until IS NULL OR held_until > {now})) AS UNSIGNED) AS blocked, \
             CAST(SUM(IF(state = 'sold', price_won, 0)) AS UNSIGNED) AS sold_won \
             FROM seat_claims GROUP BY performance_id) c ON c.performance_id = p.id \
         LEFT JOIN (SELECT b.performance_id, CAST(SUM(x.fee_won) AS UNSIGNED) AS fees_won, COUNT(*) AS cancelled \
             FROM cancellations x JOIN bookings b ON b.id = x.booking_id GROUP BY b.performance_id) x \
             ON x.performance_id = p.id \
         LEFT JOIN (SELECT performance_id, COUNT(DISTINCT booking_id, seat) AS entered FROM door_scans \
             GROUP BY performance_id) d ON d.performance_id = p.id"
    )
}

fn sales(row: &Row) -> (u32, Sales) {
    let n = |column: &str| row.get::<u64, _>(column).unwrap_or_default();
    let sales = Sales {
        sold: n("sold"),
        held: n("held"),
        blocked: n("blocked"),
        sold_won: n("sold_won"),
        fees_won: n("fees_won"),
        cancelled: n("cancelled"),
        entered: n("entered"),
    };
    (row.get("id").unwrap_or_default(), sales)
}

fn line(row: &Row) -> Option<Line> {
    let (no, state, seats): (String, String, String) =
        (row.get("booking_no")?, row.get("state")?, row.get("seats")?);
    Some(Line {
        id: row.get("id")?,
        no: BookingNo::parse(&no)?,
        confirmed: state == "confirmed",
        seats: seats.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
        amount_won: row.get("amount_won")?,
        fee_won: row.get("fee_won")?,
        refund_won: row.get("refund_won")?,
        created_ms: row.get("at_ms")?,
        name: row.get("name")?,
        email: row.get("email")?,
    })
}
