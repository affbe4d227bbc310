//! The decoder against bytes: recorded by a real MariaDB server, generated as MySQL documents them, and both damaged in
//! every way. No server is needed.

mod damage;
mod file;
mod mysql;
