//! Random values, written as SQL literals, for whatever column the server says that there is.

use rand::{RngExt, rngs::StdRng};

/// One column as information_schema tells it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) data_type: String,
    pub(super) column_type: String,
    pub(super) collation: Option<String>,
    pub(super) nullable: bool,
    pub(super) computed: bool,
    /// It is part of a key or refers to one: its values come from a small pool, so that they meet.
    pub(super) tight: bool,
    pub(super) primary: bool,
    pub(super) unique: bool,
}

impl Column {
    /// As an identifier.
    pub(super) fn quoted(&self) -> String {
        quoted(&self.name)
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// One of `all`.
pub(super) fn one_of<'a, T: ?Sized>(random: &mut StdRng, all: &[&'a T]) -> &'a T {
    all[random.random_range(0..all.len())]
}

/// True in `percent` of all cases.
pub(super) fn chance(random: &mut StdRng, percent: u32) -> bool {
    random.random_range(0..100) < percent
}

/// Words that meet under one collation and not under another: case, accents, spaces at the end, width, expansions.
const WORDS: &[&str] = &[
    "", " ", "a", "A", "á", "Á", "a ", "A  ", "b", "B", "ab", "AB", "Ab ", "ß", "ss", "SS", "ẞ", "é", "e",
    "E", "한", "한국", "가", "나 ", "ﬁ", "fi", "0", "00", "1", "10", "-1", "\0", "a\0", "'", "\\", "`", "%",
    "🎫", "🎭", "æ", "ae", "ı", "i", "I", "İ", "ｅ", "ö", "oe", "Ö",
];

/// A literal for `column`.
pub(super) fn value(random: &mut StdRng, column: &Column) -> String {
    if column.nullable && chance(random, 12) {
        return "NULL".into();
    }
    let tight = column.tight;
    match column.data_type.as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => integer(random, column),
        "decimal" => decimal(random, column),
        "float" => {
            let any = f32::from_bits(random.random());
            floating(random, tight, f64::from(any))
        }
        "double" => {
            let any = f64::from_bits(random.random());
            floating(random, tight, any)
        }
        "bit" => {
            let bits: u32 = arguments(&column.column_type).parse().unwrap_or(1);
            let n: u64 = if tight { random.random_range(0..8) } else { random.random() };
            (n >> (64 - bits).min(if tight { 0 } else { 63 })).to_string()
        }
        "year" => one_of(random, &["0", "1901", "2155", "2000", "2026", "1999", "2027"]).to_owned(),
        "date" => format!("'{}'", date(random)),
        "datetime" | "timestamp" => format!("'{} {}'", date(random), clock(random)),
        "time" => {
            let sign = if chance(random, 30) { "-" } else { "" };
            match random.random_range(0..8) {
                0 => format!("'{sign}838:59:59'"),
                1 => format!("'{sign}00:00:00.000001'"),
                _ => format!("'{sign}{}'", clock(random)),
            }
        }
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => text(random, column),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => binary(random, column),
        "enum" | "set" => member(random, column),
        "uuid" => uuid(random, tight),
        "inet6" => one_of(
            random,
            &["'::'", "'::1'", "'2001:db8::1'", "'::ffff:1.2.3.4'", "'ff02::fb'", "'2001:db8::'"],
        )
        .to_owned(),
        "inet4" => {
            one_of(random, &["'0.0.0.0'", "'10.0.0.1'", "'255.255.255.255'", "'192.168.7.0'"]).to_owned()
        }
        "point" => format!("POINT({}, {})", random.random_range(-9..9), random.random_range(-9..9)),
        _ => one_of(
            random,
            &[
                "POINT(1.5, -2)",
                "ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326)",
                "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')",
                "ST_GeomFromText('LINESTRING(0 0,-0.1 1e300)')",
            ],
        )
        .to_owned(),
    }
}

/// An expression over `seq` (1, 2, 3, …) that is a value for `column`, and mostly another one for each number.
pub(super) fn series(random: &mut StdRng, column: &Column) -> String {
    let from = random.random_range(0..2_000);
    match column.data_type.as_str() {
        "tinyint" => "seq % 100".into(),
        "smallint" | "mediumint" | "int" | "bigint" => format!("seq + {from}"),
        "decimal" => "seq / 8".into(),
        "float" | "double" => format!("(seq - {from}) / 7"),
        "date" => "'2020-02-28' + INTERVAL seq DAY".into(),
        "datetime" | "timestamp" => {
            format!("'2026-03-29 00:00:00' + INTERVAL seq * {from} MICROSECOND + INTERVAL seq MINUTE")
        }
        "time" => "SEC_TO_TIME(seq * 7 - 3000)".into(),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext"
            if !column.name.contains("json") =>
        {
            format!("CONCAT(CHAR(65 + seq % 26), '{}', seq)", one_of(random, &["a", "A", "e", "x"]))
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            "UNHEX(LPAD(HEX(seq * 251), 8, '0'))".into()
        }
        "uuid" => "UNHEX(MD5(seq))".into(),
        "inet6" => "CONCAT('2001:db8::', HEX(seq))".into(),
        _ => value(random, column),
    }
}

/// What stands in the brackets of a column's type.
fn arguments(column_type: &str) -> &str {
    match (column_type.find('('), column_type.rfind(')')) {
        (Some(open), Some(close)) if open < close => &column_type[open + 1..close],
        _ => "",
    }
}

fn integer(random: &mut StdRng, column: &Column) -> String {
    let bits = match column.data_type.as_str() {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        _ => 64,
    };
    let unsigned = column.column_type.contains("unsigned");
    if column.tight || chance(random, 40) {
        let least = if unsigned { 0 } else { -3 };
        return random.random_range(least..25_i64).to_string();
    }
    let largest = if unsigned { u64::MAX >> (64 - bits) } else { (u64::MAX >> (64 - bits)) >> 1 };
    match (random.random_range(0..4), unsigned) {
        (0, _) => largest.to_string(),
        (1, false) => format!("-{}", largest + 1),
        (2, false) => format!("-{}", random.random_range(0..=largest)),
        _ => random.random_range(0..=largest).to_string(),
    }
}

fn decimal(random: &mut StdRng, column: &Column) -> String {
    let (digits, scale) = arguments(&column.column_type).split_once(',').unwrap_or(("10", "0"));
    let (digits, scale): (usize, usize) = (digits.parse().unwrap_or(10), scale.parse().unwrap_or(0));
    if column.tight {
        return one_of(random, &["0", "-0", "1", "1.0", "0.5", "0.50", "-1", "-0.125", "2", "9", "3.5"])
            .to_owned();
    }
    let mut text =
        String::from(if chance(random, 40) && !column.column_type.contains("unsigned") { "-" } else { "" });
    let whole = random.random_range(0..=digits - scale);
    text.push('0');
    (0..whole).for_each(|_| text.push(char::from(b'0' + random.random_range(0..10_u8))));
    if scale > 0 {
        text.push('.');
        text.push(char::from(b'0' + random.random_range(0..10_u8)));
        (1..random.random_range(1..=scale))
            .for_each(|_| text.push(char::from(b'0' + random.random_range(0..10_u8))));
    }
    text
}

fn floating(random: &mut StdRng, tight: bool, any: f64) -> String {
    match random.random_range(0..if tight { 4 } else { 8 }) {
        0 => "-0e0".into(),
        1 => "0e0".into(),
        2 => "0.1e0".into(),
        3 => "-2.5e0".into(),
        4 => "1e-40".into(),
        _ if any.is_finite() => format!("{any:e}"),
        _ => "16777217".into(),
    }
}

fn date(random: &mut StdRng) -> String {
    match random.random_range(0..12) {
        0 => "0000-00-00".into(),
        1 => "2026-00-00".into(),
        2 => "2026-02-31".into(),
        3 => "9999-12-31".into(),
        4 => "1970-01-01".into(),
        5 => "2026-03-29".into(),
        6 => "2026-10-25".into(),
        _ => format!("2026-{:02}-{:02}", random.random_range(1..4), random.random_range(1..4)),
    }
}

fn clock(random: &mut StdRng) -> String {
    match random.random_range(0..6) {
        0 => "00:00:00".into(),
        1 => "23:59:59.999999".into(),
        2 => "01:30:00".into(),
        3 => "02:30:00.5".into(),
        4 => format!("12:34:56.{:06}", random.random_range(0..1_000_000)),
        _ => format!("{:02}:00:{:02}", random.random_range(0..24), random.random_range(0..60)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn text(random: &mut StdRng, column: &Column) -> String {
    if column.name.contains("json") {
        return one_of(
            random,
            &[
                "'{}'",
                "'[]'",
                "'{\"a\": 1, \"b\": [true, null, 2.50]}'",
                "_utf8mb4 x'22ed959c22'",
                "'  {\"k\" :1 }'",
                "'0.10'",
            ],
        )
        .to_owned();
    }
    let mut text = one_of(random, WORDS).to_owned();
    if !column.tight {
        for _ in 0..random.random_range(0..4) {
            text.push_str(one_of(random, WORDS));
        }
        if chance(random, 4) {
            text = text.repeat(random.random_range(1..400));
        }
    }
    format!("_utf8mb4 x'{}'", hex(text.as_bytes()))
}

fn binary(random: &mut StdRng, column: &Column) -> String {
    const POOL: &[&[u8]] = &[
        b"",
        b"\0",
        b"\0\0",
        b"a",
        b"A",
        b"a ",
        b"a\0",
        b"a\0\0",
        b"\xff",
        b"\x00\xff",
        b"'",
        b"\\",
        b"\x80",
    ];
    let mut bytes = one_of(random, POOL).to_vec();
    if !column.tight && chance(random, 40) {
        let most = if chance(random, 4) { 3_000 } else { 20 };
        (0..random.random_range(0..most)).for_each(|_| bytes.push(random.random()));
    }
    format!("x'{}'", hex(&bytes))
}

fn member(random: &mut StdRng, column: &Column) -> String {
    let members: Vec<&str> = arguments(&column.column_type).split(',').collect();
    match random.random_range(0..8) {
        0 => "'no member'".into(),
        1 => "''".into(),
        2 if column.data_type == "set" => random.random_range(0..1_u64 << members.len().min(20)).to_string(),
        2 => random.random_range(0..=members.len()).to_string(),
        _ => members[random.random_range(0..members.len())].to_owned(),
    }
}

fn uuid(random: &mut StdRng, tight: bool) -> String {
    if tight || chance(random, 30) {
        return one_of(
            random,
            &[
                "'00000000-0000-0000-0000-000000000000'",
                "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
                "'123e4567-e89b-12d3-a456-426655440000'",
                "'6fa459ea-ee8a-4ca4-894e-db77e160355e'",
                "'01890a5d-ac96-774b-bcce-b302099a8057'",
                "'6fa459ea-ee8a-3ca4-894e-db77e160355e'",
                "'123e4567-e89b-12d3-0056-426655440000'",
            ],
        )
        .to_owned();
    }
    let n: u128 = random.random();
    let text = format!("{n:032x}");
    format!("'{}-{}-{}-{}-{}'", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}
