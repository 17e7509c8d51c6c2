//! Characters, bytes, and what is made of bytes.

use super::*;

#[test]
fn characters_of_every_length() {
    assert_value(
        "varchar(20)",
        (15, 80),
        "\u{3}日".as_bytes(),
        "日".as_bytes(),
        &text("日"),
    );
    assert_value("varchar(200)", (15, 800), b"\x02\x00ab", b"ab", &text("ab"));
    assert_value("varchar(20)", (253, 80), b"\x00", b"", &text(""));
    assert_value("char(5)", (254, 0xfe14), b"\x02ab", b"ab", &text("ab"));
    assert_value("char(255)", (254, 0xcefc), b"\x02\x00ab", b"ab", &text("ab"));
    assert_value("tinytext", (252, 1), b"\x01a", b"a", &text("a"));
    assert_value("text", (252, 2), b"\x01\x00a", b"a", &text("a"));
    assert_value("mediumtext", (252, 3), b"\x01\x00\x00a", b"a", &text("a"));
    assert_value("longtext", (252, 4), b"\x01\x00\x00\x00a", b"a", &text("a"));
    assert_value_in(
        ("latin1", "varchar(20)"),
        (15, 20),
        b"\x03\xe9\x81\x00",
        b"\xe9\x81\x00",
        &text("é\u{81}\0"),
    );
    assert_value_in(
        ("utf16", "varchar(20)"),
        (15, 80),
        b"\x04\xd8\x3d\xdc\x0e",
        b"\xd8\x3d\xdc\x0e",
        &text("🐎"),
    );
    let column = column("varchar(20)", "utf8mb4", false);
    let policy = TypePolicy::default();
    let refused = Err(CellError::NotInCharset("utf8mb4"));
    let mut reader = Reader::new("test", b"\x03\xe9\xff\x00");
    let decoder = decoder(&column, (15, 80), &policy);
    assert_eq!(pushed(|batch| decoder.decode(&mut reader, batch)), refused);
    assert_eq!(queried(&column, b"\xe9\xff\x00", &policy), refused);
}

#[test]
fn bytes_of_every_length() {
    let bytes = |bytes: &[u8]| Datum::Bytes(bytes.to_vec());
    assert_value(
        "varbinary(20)",
        (15, 20),
        b"\x03\x01\x02\x03",
        b"\x01\x02\x03",
        &bytes(b"\x01\x02\x03"),
    );
    assert_value("blob", (252, 2), b"\x02\x00\x01\x00", b"\x01\x00", &bytes(b"\x01\x00"));
    assert_value("longblob", (252, 4), b"\x00\x00\x00\x00", b"", &bytes(b""));
    // The log leaves the zeros at the end away, a query does not.
    assert_value(
        "binary(4)",
        (254, 0xfe04),
        b"\x02\x01\x02",
        b"\x01\x02\x00\x00",
        &bytes(b"\x01\x02\x00\x00"),
    );
    assert_value(
        "binary(3)",
        (254, 0xfe03),
        b"\x00",
        b"\x00\x00\x00",
        &bytes(b"\x00\x00\x00"),
    );
    let column = column("binary(2)", "utf8mb4", false);
    let mut reader = Reader::new("test", b"\x03abc");
    let decoder = decoder(&column, (254, 0xfe02), &TypePolicy::default());
    assert!(pushed(|batch| decoder.decode(&mut reader, batch)).is_err());
}

#[test]
fn members() {
    assert_value("enum('a','it''s')", (254, 0xf701), b"\x02", b"it's", &text("it's"));
    assert_value("enum('a','b')", (254, 0xf701), b"\x00", b"", &text(""));
    assert_value("enum('a','b')", (247, 2), b"\x01\x00", b"a", &text("a"));
    assert_value("set('a','b','c')", (254, 0xf801), b"\x05", b"a,c", &text("a,c"));
    assert_value("set('a','b','c')", (248, 1), b"\x00", b"", &text(""));
    let sixty_four: Vec<String> = (0..64).map(|at| format!("'m{at}'")).collect();
    let set = format!("set({})", sixty_four.join(","));
    let expected = text("m0,m63");
    assert_value(&set, (254, 0xf808), b"\x01\0\0\0\0\0\0\x80", b"m0,m63", &expected);
    assert_value_in(("latin1", "enum('é')"), (254, 0xf701), b"\x01", b"\xe9", &text("é"));
    let policy = TypePolicy::default();
    let of_two = column("enum('a','b')", "utf8mb4", false);
    let unknown = |number| Err(CellError::UnknownMember { number, members: 2 });
    assert_eq!(logged(&decoder(&of_two, (254, 0xf701), &policy), b"\x03"), unknown(3));
    let of_two = column("set('a','b')", "utf8mb4", false);
    assert_eq!(logged(&decoder(&of_two, (254, 0xf801), &policy), b"\x08"), unknown(4));
}

#[test]
fn geometries_are_ewkb() {
    let wkb = b"\x01\x01\0\0\0\0\0\0\0\0\0\xf0\x3f\0\0\0\0\0\0\xf0\x3f";
    let stored = [&[0; 4], &wkb[..]].concat();
    let logged = [&25_u32.to_le_bytes(), &stored[..]].concat();
    assert_value("geometry", (255, 4), &logged, &stored, &Datum::Bytes(wkb.to_vec()));
    let stored = [&4326_u32.to_le_bytes(), &wkb[..]].concat();
    let logged = [&25_u32.to_le_bytes(), &stored[..]].concat();
    let ewkb = [&b"\x01\x01\0\0\x20\xe6\x10\0\0"[..], &wkb[5..]].concat();
    assert_value("geometry", (255, 4), &logged, &stored, &Datum::Bytes(ewkb));
    let column = column("geometry", "utf8mb4", false);
    assert!(queried(&column, b"\x00\x00\x00\x00\x01\x01", &TypePolicy::default()).is_err());
}

#[test]
fn points_are_numbers_in_either_byte_order() {
    let numbers = |[x, y]: [f64; 2]| vec![Datum::Float64(x), Datum::Float64(y)];
    let little = [
        &[0; 4],
        &b"\x01\x01\0\0\0"[..],
        &1.5_f64.to_le_bytes(),
        &(-2_f64).to_le_bytes(),
    ]
    .concat();
    let logged = [&25_u32.to_le_bytes(), &little[..]].concat();
    assert_value("point", (255, 4), &logged, &little, &Datum::List(numbers([1.5, -2.0])));
    let srid = &4326_u32.to_le_bytes();
    let big = [
        srid,
        &b"\0\0\0\0\x01"[..],
        &1.5_f64.to_be_bytes(),
        &(-2_f64).to_be_bytes(),
    ]
    .concat();
    let logged = [&25_u32.to_le_bytes(), &big[..]].concat();
    let expected = [numbers([1.5, -2.0]), vec![Datum::Int(4326)]].concat();
    assert_value("point", (255, 4), &logged, &big, &Datum::List(expected));
    let column = column("point", "utf8mb4", false);
    for length in 0..little.len() {
        assert!(queried(&column, &little[..length], &TypePolicy::default()).is_err());
    }
    let longer = [&little[..], &[0]].concat();
    assert!(queried(&column, &longer, &TypePolicy::default()).is_err());
    let mut line = little;
    line[5] = 2;
    assert!(queried(&column, &line, &TypePolicy::default()).is_err());
}

#[test]
fn vectors() {
    let stored = [1.1_f32, 2.2].map(f32::to_le_bytes).concat();
    let expected = Datum::List(vec![Datum::Float32(1.1), Datum::Float32(2.2)]);
    assert_value(
        "vector(2)",
        (242, 4),
        &[b"\x08\0\0\0", &stored[..]].concat(),
        &stored,
        &expected,
    );
    // MariaDB's is a VARBINARY.
    assert_value(
        "vector(2)",
        (15, 8),
        &[b"\x08", &stored[..]].concat(),
        &stored,
        &expected,
    );
    let column = column("vector(2)", "utf8mb4", false);
    assert!(queried(&column, b"\0\0\0", &TypePolicy::default()).is_err());
}

#[test]
fn types_of_mariadb() {
    let uuid = "651aed08-390f-4893-b2f1-36923e7b7400";
    let stored = b"\x65\x1a\xed\x08\x39\x0f\x48\x93\xb2\xf1\x36\x92\x3e\x7b\x74";
    assert_value(
        "uuid",
        (254, 0xfe10),
        &[b"\x0f", &stored[..]].concat(),
        uuid.as_bytes(),
        &text(uuid),
    );
    assert_value(
        "inet4",
        (254, 0xfe04),
        b"\x04\xc0\x00\x02\x01",
        b"192.0.2.1",
        &text("192.0.2.1"),
    );
    assert_value("inet4", (254, 0xfe04), b"\x01\x0a", b"10.0.0.0", &text("10.0.0.0"));
    let addresses: [(&[u8], &str); 8] = [
        (b"", "::"),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", "::1"),
        (b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01", "::ffff:192.0.2.1"),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\xc0\0\x02\x01", "::192.0.2.1"),
        (b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", "2001:db8::1"),
        (b"\x20\x01\x0d\xb8", "2001:db8::"),
        (b"\0\x01\0\0\0\x02\0\x03\0\x04\0\x05\0\x06\0\x07", "1::2:3:4:5:6:7"),
        (b"\0\x01\0\x02\0\x03\0\x04\0\x05\0\x06\0\x07\0\x08", "1:2:3:4:5:6:7:8"),
    ];
    for (stored, printed) in addresses {
        let length = u8::try_from(stored.len()).unwrap();
        assert_value(
            "inet6",
            (254, 0xfe10),
            &[&[length], stored].concat(),
            printed.as_bytes(),
            &text(printed),
        );
    }
}

#[test]
fn compressed_columns() {
    use std::io::Write as _;
    let plain = "abc".repeat(100);
    let column = column("varchar(1000) /*M!100301 COMPRESSED*/", "utf8mb4", false);
    let policy = TypePolicy::default();
    let decoder = decoder(&column, (141, 4001), &policy);
    let with_length = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat();
    let mut zlib = flate2::write::ZlibEncoder::new(vec![0x82, 0x01, 0x2c], flate2::Compression::default());
    zlib.write_all(plain.as_bytes()).unwrap();
    let zlib = zlib.finish().unwrap();
    assert_eq!(logged(&decoder, &with_length(&zlib)), Ok(text(&plain)));
    let mut raw = flate2::write::DeflateEncoder::new(vec![0x8a, 0x01, 0x2c], flate2::Compression::default());
    raw.write_all(plain.as_bytes()).unwrap();
    assert_eq!(logged(&decoder, &with_length(&raw.finish().unwrap())), Ok(text(&plain)));
    assert_eq!(logged(&decoder, &with_length(b"\0abc")), Ok(text("abc")));
    assert_eq!(logged(&decoder, &with_length(b"")), Ok(text("")));
    // Longer and shorter than announced, cut off, and compressed in another way.
    for wrong in [
        &[&[0x82, 0x01, 0x2b], &zlib[3..]].concat(),
        &[&[0x82, 0x01, 0x2d], &zlib[3..]].concat(),
        &zlib[..9].to_vec(),
        &vec![0x10],
    ] {
        let bytes = with_length(wrong);
        let mut reader = Reader::new("test", &bytes);
        assert!(pushed(|batch| decoder.decode(&mut reader, batch)).is_err());
    }
}
