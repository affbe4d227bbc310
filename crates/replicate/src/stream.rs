//! The name of this database's log: which server's, and which life of it.
//!
//! A name is drawn at random and carries the mark of the server that it was drawn on. `ghostlight.site.stream` says in
//! which log the row was last *written*; the name that the log has *now* is the same with the mark of the server that
//! answers. The two differ when another server has taken this one's place (a managed database's own failover) and
//! brought a copy of the row along: then nobody knows whether that copy is the last one, and what the row says of the mode
//! and the token was said of another log.
//!
//! So whoever writes the row writes the present name, and whoever believes it compares the two first.

use model::StreamId;
use mysql_async::Conn;

use crate::{database::DatabaseError, dialect, row};

/// An expression over a row of `ghostlight.site`: the name that the log has now. A name without a mark (it was given by
/// hand) is the same on every server.
pub(crate) fn here(conn: &Conn) -> String {
    let server = dialect::of(conn).server;
    format!("IF(LOCATE('-', stream) = 0, stream, CONCAT(SUBSTRING_INDEX(stream, '-', 1), '-', {server}))")
}

/// An expression: a name that no log ever had, with this server's mark.
pub(crate) fn fresh(conn: &Conn) -> String {
    format!("CONCAT('{:032x}', '-', {})", rand::random::<u128>(), dialect::of(conn).server)
}

/// For an `UPDATE` of the row: it is written here. A row that comes from another server gets a new name; to give it the old
/// one with this server's mark would bring a name back each time that the two change places.
pub(crate) fn written_here(conn: &Conn) -> String {
    format!("stream = IF({} = stream, stream, {})", here(conn), fresh(conn))
}

/// Whether the log behind `conn` is `stream` and its row speaks for it. Asked on the very connection by which something is
/// read that is to be believed of that stream: an address may lead to another server a moment later.
pub(crate) async fn is_here(conn: &mut Conn, stream: &StreamId) -> Result<bool, DatabaseError> {
    let seen = row::snapshot(conn).await?;
    Ok(seen.row_speaks() && seen.end_of_log.stream == *stream)
}
