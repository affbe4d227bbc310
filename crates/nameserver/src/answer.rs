//! A zone and the bytes of a query in, the bytes of the reply out.
//!
//! Nothing here waits, remembers or panics, whatever the bytes are. What is not a query gets no reply at all: a
//! server that answers answers can be made to talk to another one for ever.

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{DNSClass, Record, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};

use crate::zone::{Found, Zone};

/// The largest reply by UDP to one who knows EDNS: what passes every common path in one piece.
pub const UDP_BYTES_MAX: u16 = 1_232;
/// The largest reply by UDP to one who does not (RFC 1035).
const UDP_BYTES_CLASSIC: u16 = 512;

/// How the query came, which decides how long the reply may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram: a reply that does not fit is cut off and says so, and the asker comes again by TCP.
    Udp,
    /// A stream of messages, up to 64 KiB each.
    Tcp,
}

/// The reply to `query`, if there should be one.
pub fn answer(zone: &Zone, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let header = Header::read(&mut BinDecoder::new(query)).ok()?;
    if header.metadata.message_type == MessageType::Response {
        return None;
    }
    let mut reply = Message::response(header.metadata.id, header.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&header.metadata);
    let mut datagram_bytes_max = UDP_BYTES_CLASSIC;
    // The counts are looked at before anything is decoded: they say how much memory decoding takes.
    if header.metadata.op_code != OpCode::Query {
        reply.metadata.response_code = ResponseCode::NotImp;
    } else if header.counts.queries != 1 {
        reply.metadata.response_code = ResponseCode::FormErr;
    } else {
        match Message::from_vec(query) {
            Ok(query) => {
                if let Some(edns) = &query.edns {
                    datagram_bytes_max = edns.max_payload().clamp(UDP_BYTES_CLASSIC, UDP_BYTES_MAX);
                }
                fill(zone, &query, &mut reply);
            }
            Err(_) => reply.metadata.response_code = ResponseCode::FormErr,
        }
    }
    let bytes_max = match transport {
        Transport::Udp => datagram_bytes_max,
        Transport::Tcp => u16::MAX,
    };
    encode(reply, bytes_max.into())
}

/// Writes what the zone says about the question of `query` into `reply`.
fn fill(zone: &Zone, query: &Message, reply: &mut Message) {
    let Some(question) = query.queries.first() else { return };
    reply.add_query(question.clone());
    if let Some(asked) = &query.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_BYTES_MAX).set_dnssec_ok(asked.flags().dnssec_ok);
        reply.set_edns(edns);
        if asked.version() > 0 {
            reply.metadata.response_code = ResponseCode::BADVERS;
            return;
        }
    }
    if let Some(refusal) = refusal(question) {
        reply.metadata.response_code = refusal;
        return;
    }
    let found = zone.find(question.name(), question.query_type());
    reply.metadata.authoritative = found != Found::Elsewhere;
    match found {
        Found::Records(records) => {
            let owned = |data| Record::from_rdata(question.name().clone(), zone.ttl_s(), data);
            reply.add_answers(records.into_iter().map(owned));
            if question.query_type() == RecordType::NS {
                reply.add_additional(zone.glue());
            }
        }
        Found::NoData => {
            reply.add_authority(zone.denial());
        }
        Found::NoName => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.add_authority(zone.denial());
        }
        Found::Elsewhere => reply.metadata.response_code = ResponseCode::Refused,
    }
}

/// Questions that are refused whatever the name is.
fn refusal(question: &Query) -> Option<ResponseCode> {
    const META: std::ops::RangeInclusive<u16> = 249..=254; // TKEY to MAILA: about transfers and keys, not names
    match (question.query_class(), question.query_type()) {
        (DNSClass::IN, RecordType::OPT) => Some(ResponseCode::FormErr),
        (DNSClass::IN, RecordType::AXFR | RecordType::IXFR) => Some(ResponseCode::Refused),
        (DNSClass::IN, kind) => META.contains(&u16::from(kind)).then_some(ResponseCode::NotImp),
        _ => Some(ResponseCode::Refused),
    }
}

/// The bytes of `reply`: whole, or without what was only added as a kindness, or cut off with TC set.
fn encode(mut reply: Message, bytes_max: usize) -> Option<Vec<u8>> {
    for _ in 0..2 {
        match reply.to_vec() {
            Ok(bytes) if bytes.len() <= bytes_max => return Some(bytes),
            _ => reply.additionals.clear(),
        }
    }
    reply.truncate().to_vec().ok().filter(|bytes| bytes.len() <= bytes_max)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hickory_proto::rr::{Name, RData};
    use proptest::prelude::*;

    use super::*;

    fn zone_of(addresses: &[&str]) -> Zone {
        let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Zone::new("tickets.ghostlight.test", addresses, "127.30.0.53".parse().unwrap(), 5, 7).unwrap()
    }

    fn question(name: &str, kind: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message
    }

    fn ask(zone: &Zone, query: &Message) -> Message {
        let reply = answer(zone, &query.to_vec().unwrap(), Transport::Udp).unwrap();
        let reply = Message::from_vec(&reply).unwrap();
        assert_eq!(reply.metadata.id, query.metadata.id);
        assert_eq!(reply.metadata.message_type, MessageType::Response);
        assert!(!reply.metadata.recursion_available);
        reply
    }

    /// Asks a zone with one IPv4 address and expects: code, authority, answers, and whether a SOA denies.
    #[track_caller]
    fn check(name: &str, kind: RecordType, code: ResponseCode, answers: &[&str], denied: bool) {
        let reply = ask(&zone_of(&["127.10.0.1"]), &question(name, kind));
        assert_eq!(reply.metadata.response_code, code, "{reply}");
        assert_eq!(reply.metadata.authoritative, code != ResponseCode::Refused, "{reply}");
        let told: Vec<String> = reply.answers.iter().map(|r| r.data.to_string()).collect();
        assert_eq!(told, answers, "{reply}");
        let soa = reply.authorities.iter().find_map(|r| match &r.data {
            RData::SOA(soa) => Some((r.ttl, soa.minimum)),
            _ => None,
        });
        assert_eq!(soa, denied.then_some((5, 5)), "{reply}");
    }

    #[test]
    fn every_kind_of_question_has_its_reply() {
        use RecordType as T;
        use ResponseCode as C;
        let apex = "tickets.ghostlight.test.";
        check(apex, T::A, C::NoError, &["127.10.0.1"], false);
        check("TiCKets.GHOSTlight.test.", T::A, C::NoError, &["127.10.0.1"], false);
        check(apex, T::ANY, C::NoError, &["127.10.0.1"], false);
        check(apex, T::NS, C::NoError, &["ns.tickets.ghostlight.test."], false);
        check("ns.tickets.ghostlight.test.", T::A, C::NoError, &["127.30.0.53"], false);
        check(apex, T::AAAA, C::NoError, &[], true);
        check(apex, T::TXT, C::NoError, &[], true);
        check("ns.tickets.ghostlight.test.", T::MX, C::NoError, &[], true);
        check("www.tickets.ghostlight.test.", T::A, C::NXDomain, &[], true);
        check("ghostlight.test.", T::A, C::Refused, &[], false);
        check("example.com.", T::A, C::Refused, &[], false);
        check(".", T::NS, C::Refused, &[], false);
    }

    #[test]
    fn soa_tells_the_serial_and_how_long_a_denial_lasts() {
        let reply = ask(&zone_of(&["127.10.0.1"]), &question("tickets.ghostlight.test.", RecordType::SOA));
        let RData::SOA(soa) = &reply.answers[0].data else { panic!("{reply}") };
        assert_eq!((soa.serial, soa.minimum), (7, 5));
    }

    #[test]
    fn a_site_with_both_kinds_of_address_answers_each_kind() {
        let zone = zone_of(&["127.10.0.1", "fd00::1"]);
        let told = |kind| ask(&zone, &question("tickets.ghostlight.test.", kind)).answers[0].data.to_string();
        assert_eq!(told(RecordType::A), "127.10.0.1");
        assert_eq!(told(RecordType::AAAA), "fd00::1");
    }

    #[test]
    fn the_question_comes_back_letter_by_letter() {
        let name = "tIcKeTs.GhOsTlIgHt.TeSt.";
        let reply = ask(&zone_of(&["127.10.0.1"]), &question(name, RecordType::A));
        assert_eq!(reply.queries[0].name().to_ascii(), name);
    }

    #[test]
    fn edns_is_answered_with_edns_and_a_newer_version_with_badvers() {
        let zone = zone_of(&["127.10.0.1"]);
        let mut query = question("tickets.ghostlight.test.", RecordType::A);
        assert_eq!(ask(&zone, &query).edns, None);
        query.set_edns(Edns::new().set_dnssec_ok(true).clone());
        let reply = ask(&zone, &query).edns.unwrap();
        assert!(reply.flags().dnssec_ok && reply.max_payload() == UDP_BYTES_MAX && reply.version() == 0);
        query.set_edns(Edns::new().set_version(1).clone());
        let reply = ask(&zone, &query);
        // 16 has two names, and decodes as the other one.
        assert_eq!(u16::from(reply.metadata.response_code), u16::from(ResponseCode::BADVERS));
        assert!(reply.answers.is_empty());
    }

    #[test]
    fn what_does_not_fit_a_datagram_is_cut_off_and_whole_by_tcp() {
        let addresses: Vec<String> = (0..60).map(|i| format!("127.10.1.{i}")).collect();
        let zone = zone_of(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
        let mut query = question("tickets.ghostlight.test.", RecordType::A);
        let told = |query: &Message, transport| {
            let bytes = answer(&zone, &query.to_vec().unwrap(), transport).unwrap();
            let reply = Message::from_vec(&bytes).unwrap();
            (reply.metadata.truncation, reply.answers.len(), bytes.len() <= 512)
        };
        assert_eq!(told(&query, Transport::Udp), (true, 0, true));
        assert_eq!(told(&query, Transport::Tcp), (false, 60, false));
        query.set_edns(Edns::new().set_max_payload(4_096).clone());
        assert_eq!(told(&query, Transport::Udp), (false, 60, false));
        query.set_edns(Edns::new().set_max_payload(600).clone());
        assert_eq!(told(&query, Transport::Udp), (true, 0, true));
    }

    #[test]
    fn the_odd_is_told_that_it_is_odd() {
        let zone = zone_of(&["127.10.0.1"]);
        let code = |change: &dyn Fn(&mut Message)| {
            let mut query = question("tickets.ghostlight.test.", RecordType::A);
            change(&mut query);
            ask(&zone, &query).metadata.response_code
        };
        assert_eq!(code(&|q| q.metadata.op_code = OpCode::Update), ResponseCode::NotImp);
        assert_eq!(code(&|q| q.metadata.op_code = OpCode::Notify), ResponseCode::NotImp);
        assert_eq!(code(&|q| q.queries.clear()), ResponseCode::FormErr);
        assert_eq!(code(&|q| q.queries.push(q.queries[0].clone())), ResponseCode::FormErr);
        assert_eq!(code(&|q| q.queries[0].query_type = RecordType::AXFR), ResponseCode::Refused);
        assert_eq!(code(&|q| q.queries[0].query_type = RecordType::OPT), ResponseCode::FormErr);
        assert_eq!(code(&|q| q.queries[0].query_type = RecordType::from(253)), ResponseCode::NotImp);
        assert_eq!(code(&|q| q.queries[0].query_class = DNSClass::CH), ResponseCode::Refused);
    }

    #[test]
    fn a_message_that_breaks_off_is_a_format_error_and_a_shorter_one_than_a_header_is_nothing() {
        let zone = zone_of(&["127.10.0.1"]);
        let query = question("tickets.ghostlight.test.", RecordType::A).to_vec().unwrap();
        for length in 0..12 {
            assert_eq!(answer(&zone, &query[..length], Transport::Udp), None);
        }
        for length in 12..query.len() {
            let reply = answer(&zone, &query[..length], Transport::Udp).unwrap();
            assert_eq!(Message::from_vec(&reply).unwrap().metadata.response_code, ResponseCode::FormErr);
        }
    }

    #[test]
    fn an_answer_is_never_answered() {
        let zone = zone_of(&["127.10.0.1"]);
        let query = question("tickets.ghostlight.test.", RecordType::A).to_vec().unwrap();
        let reply = answer(&zone, &query, Transport::Udp).unwrap();
        assert_eq!(answer(&zone, &reply, Transport::Udp), None);
    }

    /// Whatever comes in: no panic, and either nothing or a well-formed reply to this very message that fits.
    fn harmless(query: &[u8]) {
        let zone = zone_of(&["127.10.0.1", "fd00::1"]);
        for (transport, bytes_max) in [(Transport::Udp, usize::from(UDP_BYTES_MAX)), (Transport::Tcp, 65_535)]
        {
            let Some(reply) = answer(&zone, query, transport) else { continue };
            assert!(reply.len() <= bytes_max);
            assert_eq!(reply[..2], query[..2]);
            assert!(query[2] & 0x80 == 0 && reply[2] & 0x80 != 0);
            Message::from_vec(&reply).unwrap();
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            harmless(&bytes);
        }

        #[test]
        fn no_change_to_a_good_query_does_harm(
            edns in any::<bool>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            tail in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut query = question("ns.tickets.ghostlight.test.", RecordType::NS);
            if edns {
                query.set_edns(Edns::new());
            }
            let mut bytes = query.to_vec().unwrap();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.extend(tail);
            harmless(&bytes);
        }
    }
}
