use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A table of the model: id, a unique value under a collation that takes letters' cases for the same, a value.
type Model = BTreeMap<i64, (char, i64)>;

fn row(id: i64, unique: char, value: i64) -> Row {
    vec![Value::Signed(id), Value::Bytes(vec![unique as u8]), Value::Signed(value)]
}

fn read(row: &Row) -> (i64, (char, i64)) {
    match row.as_slice() {
        [Value::Signed(id), Value::Bytes(unique), Value::Signed(value)] => (*id, (unique[0] as char, *value)),
        other => panic!("{other:?}"),
    }
}

fn holds(model: &Model, but: Option<i64>, unique: char) -> bool {
    model.iter().any(|(id, (u, _))| Some(*id) != but && u.eq_ignore_ascii_case(&unique))
}

/// What somebody may try; only what the table allows is done and logged, as a server does.
#[derive(Clone, Debug)]
enum Try {
    Put(i64, char, i64),
    Change(i64, i64, char, i64),
    Take(i64),
}

fn tries() -> impl Strategy<Value = Vec<Try>> {
    let (id, unique, value) = (0..5_i64, proptest::sample::select(vec!['a', 'A', 'b', 'B', 'c']), 0..3_i64);
    let one = prop_oneof![
        (id.clone(), unique.clone(), value.clone()).prop_map(|(i, u, v)| Try::Put(i, u, v)),
        (id.clone(), id.clone(), unique, value).prop_map(|(i, j, u, v)| Try::Change(i, j, u, v)),
        id.prop_map(Try::Take),
    ];
    proptest::collection::vec(one, 0..40)
}

/// Does what is allowed, one by one, and logs it.
fn history(model: &mut Model, tries: &[Try]) -> Vec<Rows> {
    let mut log = Vec::new();
    for attempt in tries {
        match *attempt {
            Try::Put(id, u, v) if !model.contains_key(&id) && !holds(model, None, u) => {
                model.insert(id, (u, v));
                log.push(Rows::Insert(vec![row(id, u, v)]));
            }
            Try::Change(id, to, u, v)
                if (id == to || !model.contains_key(&to)) && !holds(model, Some(id), u) =>
            {
                let Some((was_u, was_v)) = model.remove(&id) else { continue };
                model.insert(to, (u, v));
                log.push(Rows::Update(vec![(row(id, was_u, was_v), row(to, u, v))]));
            }
            Try::Take(id) => {
                let Some((u, v)) = model.remove(&id) else { continue };
                log.push(Rows::Delete(vec![row(id, u, v)]));
            }
            _ => {}
        }
    }
    log
}

/// Writes nets down as the statements do, checking at each step what the server would.
fn write_down(model: &mut Model, nets: &[Net<'_>]) -> Result<(), String> {
    let same = |model: &Model, row: &Row| {
        let (id, rest) = read(row);
        model.get(&id) == Some(&rest)
    };
    let touches_unique = |a: &Row, b: &Row| a[1] != b[1];
    for net in nets {
        match net {
            Net::Update(before, _) | Net::Delete(before) | Net::Keep(before) if !same(model, before) => {
                return Err(format!("{before:?} is not there"));
            }
            _ => {}
        }
    }
    for net in nets {
        match net {
            Net::Delete(row) => {
                model.remove(&read(row).0);
            }
            Net::Update(before, after) if touches_unique(before, after) => {
                model.remove(&read(before).0);
            }
            _ => {}
        }
    }
    for net in nets {
        match net {
            Net::Absent(row) if model.contains_key(&read(row).0) => return Err(format!("{row:?} is there")),
            Net::Update(before, after) if !touches_unique(before, after) => {
                model.insert(read(after).0, read(after).1);
            }
            _ => {}
        }
    }
    for net in nets {
        let row = match net {
            Net::Insert(row) => row,
            Net::Update(before, after) if touches_unique(before, after) => after,
            _ => continue,
        };
        let (id, (u, v)) = read(row);
        if model.contains_key(&id) || holds(model, None, u) {
            return Err(format!("duplicate: {row:?}"));
        }
        model.insert(id, (u, v));
    }
    Ok(())
}

fn fold<'a>(key: &'a [usize], log: &'a [Rows]) -> Result<Vec<Net<'a>>, Clash> {
    let mut fold = Fold::new(key);
    log.iter().try_for_each(|rows| fold.add(rows))?;
    Ok(fold.nets().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn folded_and_one_by_one_come_to_the_same(before in tries(), then in tries()) {
        let mut start = Model::new();
        history(&mut start, &before);
        let mut one_by_one = start.clone();
        let log = history(&mut one_by_one, &then);
        let nets = fold(&[0], &log).unwrap();
        let mut folded = start;
        prop_assert_eq!(write_down(&mut folded, &nets), Ok(()));
        prop_assert_eq!(folded, one_by_one);
    }

    /// With the unique value as the key, which a collation does not take for bytes.
    #[test]
    fn keys_that_a_collation_takes_for_the_same_come_to_the_same(before in tries(), then in tries()) {
        let mut start = Model::new();
        history(&mut start, &before);
        let mut one_by_one = start.clone();
        let log = history(&mut one_by_one, &then);
        let nets = fold(&[1], &log).unwrap();
        // Told by id again, so that the model can be used: a row that only changes its id stays under its key here.
        let mut folded: BTreeMap<char, (char, Row)> =
            start.iter().map(|(id, (u, v))| (u.to_ascii_lowercase(), (*u, row(*id, *u, *v)))).collect();
        let of = |row: &Row| read(row).1.0;
        for net in &nets {
            if let Net::Delete(gone) = net {
                let was = folded.remove(&of(gone).to_ascii_lowercase());
                prop_assert_eq!(was.map(|(_, row)| row), Some((*gone).clone()));
            }
        }
        for net in &nets {
            if let Net::Update(was, after) = net {
                let was_here = folded.insert(of(after).to_ascii_lowercase(), (of(after), (*after).clone()));
                prop_assert_eq!(was_here.map(|(_, row)| row), Some((*was).clone()));
            }
        }
        for net in &nets {
            if let Net::Insert(new) = net {
                let was = folded.insert(of(new).to_ascii_lowercase(), (of(new), (*new).clone()));
                prop_assert!(was.is_none(), "{:?} was in the way", was);
            }
        }
        let folded: Model = folded.into_values().map(|(_, row)| read(&row)).collect();
        prop_assert_eq!(folded, one_by_one);
    }

    /// One row change is taken out, doubled or its image bent: the run contradicts itself, or it shows when it is
    /// written down, or it makes no difference to the outcome (the change came back to where it was).
    #[test]
    fn a_history_that_cannot_be_is_found(before in tries(), then in tries(), at in any::<prop::sample::Index>(), how in 0..3) {
        let mut start = Model::new();
        history(&mut start, &before);
        let mut one_by_one = start.clone();
        let mut log = history(&mut one_by_one, &then);
        prop_assume!(!log.is_empty());
        let at = at.index(log.len());
        match how {
            0 => {
                let twice = log[at].clone();
                // A change that changes nothing may be told twice.
                prop_assume!(!matches!(&twice, Rows::Update(rows) if rows[0].0 == rows[0].1));
                log.insert(at, twice);
            }
            1 => match &mut log[at] {
                Rows::Insert(_) => return Ok(()),
                Rows::Update(rows) => rows[0].0[2] = Value::Signed(99),
                Rows::Delete(rows) => rows[0][2] = Value::Signed(99),
            },
            _ => match &mut log[at] {
                Rows::Delete(_) => return Ok(()),
                Rows::Insert(rows) => rows[0][0] = Value::Signed(start.keys().next().copied().unwrap_or(-1)),
                Rows::Update(rows) => rows[0].0[0] = Value::Signed(77),
            },
        }
        let mut exact = start.clone();
        let refused = log.iter().any(|rows| !apply_exactly(&mut exact, rows));
        let folded = fold(&[0], &log).map(|nets| {
            let mut model = start.clone();
            write_down(&mut model, &nets).map(|()| model)
        });
        match folded {
            Err(_) | Ok(Err(_)) => prop_assert!(refused, "what can be done one by one was refused"),
            Ok(Ok(model)) if !refused => prop_assert_eq!(model, exact),
            // Refused one by one only for a unique value that was free again at the end: nothing was overwritten.
            Ok(Ok(_)) => {}
        }
        if how != 2 {
            prop_assert!(refused);
            prop_assert!(!matches!(fold_and_write(&start, &log), Ok(Ok(_))));
        }
    }
}

fn fold_and_write(start: &Model, log: &[Rows]) -> Result<Result<Model, String>, Clash> {
    fold(&[0], log).map(|nets| {
        let mut model = start.clone();
        write_down(&mut model, &nets).map(|()| model)
    })
}

/// One by one; false if the server would refuse it or the row is not as it must be.
fn apply_exactly(model: &mut Model, rows: &Rows) -> bool {
    let (before, after) = match rows {
        Rows::Insert(rows) => (None, Some(&rows[0])),
        Rows::Update(rows) => (Some(&rows[0].0), Some(&rows[0].1)),
        Rows::Delete(rows) => (Some(&rows[0]), None),
    };
    if let Some(before) = before {
        let (id, rest) = read(before);
        if model.remove(&id) != Some(rest) {
            return false;
        }
    }
    if let Some(after) = after {
        let (id, (u, v)) = read(after);
        if model.contains_key(&id) || holds(model, None, u) {
            return false;
        }
        model.insert(id, (u, v));
    }
    true
}

#[test]
fn what_comes_and_goes_leaves_only_what_must_be_looked_at() {
    let r = row;
    let log = [
        Rows::Insert(vec![r(1, 'a', 0)]),
        Rows::Update(vec![(r(1, 'a', 0), r(1, 'b', 0))]),
        Rows::Delete(vec![r(1, 'b', 0)]),
        Rows::Delete(vec![r(2, 'c', 0)]),
        Rows::Insert(vec![r(2, 'c', 0)]),
        Rows::Update(vec![(r(3, 'd', 0), r(4, 'd', 1))]),
    ];
    let nets = fold(&[0], &log).unwrap();
    let (one, two, three, four) = (r(1, 'a', 0), r(2, 'c', 0), r(3, 'd', 0), r(4, 'd', 1));
    assert_eq!(nets, [Net::Absent(&one), Net::Keep(&two), Net::Delete(&three), Net::Insert(&four)]);
}

#[test]
fn keys_of_several_columns_are_not_mixed_up() {
    let text = |a: &str, b: &str| vec![Value::Bytes(a.into()), Value::Bytes(b.into())];
    let log = [Rows::Insert(vec![text("ab", "c"), text("a", "bc")])];
    assert_eq!(fold(&[0, 1], &log).unwrap().len(), 2);
    let log = [Rows::Insert(vec![text("a", "b"), text("a", "b")])];
    assert_eq!(fold(&[0, 1], &log), Err(Clash::Exists));
}
