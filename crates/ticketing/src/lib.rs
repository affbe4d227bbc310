//! The protected workload: a ticketing site for musicals, concerts and sports.
