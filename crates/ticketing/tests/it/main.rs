//! The box office over a real MariaDB server: what the keys promise, and what happens when the database refuses.

mod pages;
mod promises;
mod refusing;
mod site;
