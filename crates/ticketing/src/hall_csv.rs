//! A hall from a spreadsheet: one line a row of seats, and a drawing of it.
//!
//! Give it CSV text; get back a layout, or every fault with its line and column, so that one look mends them all. The
//! columns, by name, in any order:
//!
//! | column | says | |
//! |---|---|---|
//! | `section` | the section's word, 1 to 4 of `A-Z 0-9` | needed |
//! | `name_ko`, `name_en` | its name, on its first line | needed |
//! | `grade` | the grade of its seats, one of [`GRADES`], on its first line | needed |
//! | `floor` | which ring around the stage it is in, 1 is closest, on its first line | 1 |
//! | `row` | the row's number: 1, 2, 3 … from the stage | needed |
//! | `seats` | how many seats the row has | needed |
//! | `wheelchair` | places for wheelchairs, `3` or `1-2` | none |
//! | `sight` | seats from where one should know about the sight, `3` or `1-2` | none |
//! | `note_ko`, `note_en` | what one should know | with `sight` |
//!
//! Sections stand beside each other in the order in which they come, from the audience's left, each as wide as its widest
//! row asks for.

use std::collections::BTreeMap;

use crate::catalogue::{Block, GRADES, Layout, Section, Sight, Stage, Text};

/// Faults that are told at once; whoever mends these sees the rest then.
const FAULTS_MAX: usize = 20;
const SECTIONS_MAX: usize = 120;
const ROWS_MAX: u16 = 80;
const SEATS_IN_A_ROW_MAX: u16 = 200;
const SEATS_MAX: u32 = 60_000;
const FLOORS_MAX: u16 = 5;
/// What the sections of a floor share, in degrees; 90 is straight in front of the stage.
const FROM_DEG: f64 = 38.0;
const TO_DEG: f64 = 142.0;
const GAP_DEG: f64 = 2.0;
const FIRST_ROW: f64 = 210.0;
const ROW_PITCH: f64 = 18.0;
const BETWEEN_FLOORS: f64 = 44.0;
/// The rings go around a point a little above the drawing.
const ABOVE: f64 = -10.0;

const NEEDED: [&str; 6] = ["section", "name_ko", "name_en", "grade", "row", "seats"];
const OTHERS: [&str; 5] = ["floor", "wheelchair", "sight", "note_ko", "note_en"];

/// Something that must be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which line of the text, from 1.
    pub line: usize,
    /// Which column, by its name; none where it is the whole line.
    pub column: Option<&'static str>,
    /// What is wrong, and what to write instead.
    pub what: Text,
}

/// The faults that are found, in order.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn at(&mut self, line: usize, column: &'static str, ko: &str, en: &str) {
        self.push(line, Some(column), ko, en);
    }

    fn push(&mut self, line: usize, column: Option<&'static str>, ko: &str, en: &str) {
        if self.0.len() < FAULTS_MAX {
            self.0.push(Fault { line, column, what: Text::new(ko, en) });
        }
    }
}

/// A line's cells by column.
struct Line<'c> {
    number: usize,
    cells: BTreeMap<&'static str, &'c str>,
}

impl Line<'_> {
    fn cell(&self, column: &'static str) -> &str {
        self.cells.get(column).copied().unwrap_or("")
    }

    /// A number from 1 to `max`; none, with a fault, if it is not.
    fn number(&self, column: &'static str, max: u16, faults: &mut Faults) -> Option<u16> {
        let n = self.cell(column).parse::<u16>().ok().filter(|n| (1..=max).contains(n));
        if n.is_none() {
            faults.at(
                self.number,
                column,
                &format!("1부터 {max}까지의 수를 적어 주세요."),
                &format!("Write a number from 1 to {max}."),
            );
        }
        n
    }

    /// Seats of the row, `3` or `1-2`; none if the cell is empty, or with a fault.
    fn seats(&self, column: &'static str, in_row: u16, faults: &mut Faults) -> Option<(u16, u16)> {
        let cell = self.cell(column);
        if cell.is_empty() {
            return None;
        }
        let (from, to) = cell.split_once('-').unwrap_or((cell, cell));
        let found = from.trim().parse::<u16>().ok().zip(to.trim().parse::<u16>().ok());
        let found = found.filter(|(from, to)| 1 <= *from && from <= to && *to <= in_row);
        if found.is_none() {
            faults.at(
                self.number,
                column,
                &format!("이 열의 좌석 1~{in_row}번 안에서 3 또는 1-2처럼 적어 주세요."),
                &format!("Write seats of this row, 1 to {in_row}, like 3 or 1-2."),
            );
        }
        found
    }

    /// A text of 1 to `max` letters.
    fn text(&self, column: &'static str, max: usize, faults: &mut Faults) -> String {
        let cell = self.cell(column);
        if cell.is_empty() || cell.chars().count() > max || cell.chars().any(char::is_control) {
            faults.at(
                self.number,
                column,
                &format!("한 줄로, 1자에서 {max}자로 적어 주세요."),
                &format!("Write 1 to {max} characters in one line."),
            );
        }
        cell.to_owned()
    }
}

/// A section while its rows are read.
struct Drawn {
    floor: u16,
    section: Section,
}

/// Reads a hall.
pub fn layout(csv: &str) -> Result<Layout, Vec<Fault>> {
    let mut faults = Faults::default();
    let records = records(csv, &mut faults);
    let Some(((header_line, header), rows)) = records.split_first() else {
        faults.push(
            1,
            None,
            "비어 있어요. 첫 줄에 열 이름을 적어 주세요.",
            "It is empty. Begin with a line of column names.",
        );
        return Err(faults.0);
    };
    let columns = columns(*header_line, header, &mut faults);
    let mut drawn: Vec<Drawn> = Vec::new();
    if faults.0.is_empty() {
        for (number, cells) in rows {
            if cells.len() != columns.len() {
                let (have, want) = (cells.len(), columns.len());
                faults.push(
                    *number,
                    None,
                    &format!("칸이 {want}개여야 하는데 {have}개예요."),
                    &format!("There are {have} cells; the first line names {want} columns."),
                );
                continue;
            }
            let cells = columns.iter().copied().zip(cells.iter().map(|c| c.trim())).collect();
            row(&Line { number: *number, cells }, &mut drawn, &mut faults);
        }
        if drawn.is_empty() && faults.0.is_empty() {
            faults.push(
                *header_line,
                None,
                "좌석이 없어요. 한 열에 한 줄씩 적어 주세요.",
                "There is no seat. Write a line for each row of seats.",
            );
        }
    }
    let seats: u32 = drawn.iter().map(|d| d.section.capacity()).sum();
    if seats > SEATS_MAX {
        faults.push(
            *header_line,
            None,
            &format!("좌석이 {seats}석이에요. {SEATS_MAX}석까지 넣을 수 있어요."),
            &format!("There are {seats} seats; a hall may have {SEATS_MAX}."),
        );
    }
    if faults.0.is_empty() { Ok(arranged(drawn)) } else { Err(faults.0) }
}

/// The columns that the first line names.
fn columns(line: usize, header: &[String], faults: &mut Faults) -> Vec<&'static str> {
    let mut columns: Vec<&'static str> = Vec::new();
    for name in header {
        let name = name.trim().to_ascii_lowercase();
        match NEEDED.into_iter().chain(OTHERS).find(|known| *known == name) {
            Some(known) if !columns.contains(&known) => columns.push(known),
            Some(known) => faults.at(line, known, "이 열이 두 번 있어요.", "This column is there twice."),
            None => faults.push(
                line,
                None,
                &format!("‘{name}’은(는) 모르는 열이에요. 쓸 수 있는 열: {}", all_columns()),
                &format!("There is no column `{name}`. There are: {}", all_columns()),
            ),
        }
    }
    for needed in NEEDED {
        if !columns.contains(&needed) {
            faults.at(line, needed, "이 열이 꼭 필요해요.", "This column is needed.");
        }
    }
    columns
}

fn all_columns() -> String {
    NEEDED.iter().chain(&OTHERS).copied().collect::<Vec<_>>().join(", ")
}

/// One row of seats.
fn row(line: &Line<'_>, drawn: &mut Vec<Drawn>, faults: &mut Faults) {
    let id = line.cell("section");
    let plain =
        (1..=4).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !plain {
        faults.at(
            line.number,
            "section",
            "영어 대문자와 숫자 1~4자로 적어 주세요. 예: A1",
            "Write 1 to 4 of A-Z and 0-9, like A1.",
        );
        return;
    }
    let is_new = drawn.last().is_none_or(|d| d.section.id != id);
    if is_new {
        if drawn.iter().any(|d| d.section.id == id) {
            faults.at(
                line.number,
                "section",
                "한 구역의 줄은 이어서 적어 주세요.",
                "Keep the lines of a section together.",
            );
            return;
        }
        if drawn.len() == SECTIONS_MAX {
            faults.at(line.number, "section", "구역이 너무 많아요.", "There are too many sections.");
            return;
        }
        drawn.push(begun(line, id, faults));
    }
    let Some(Drawn { floor, section }) = drawn.last_mut() else { return };
    if !is_new {
        let same = [
            ("name_ko", section.name.ko.clone()),
            ("name_en", section.name.en.clone()),
            ("grade", section.grade.clone()),
            ("floor", floor.to_string()),
        ];
        for (column, first) in same {
            let cell = line.cell(column);
            if !cell.is_empty() && cell != first {
                faults.at(
                    line.number,
                    column,
                    &format!("이 구역은 첫 줄에서 ‘{first}’였어요. 같게 적거나 비워 주세요."),
                    &format!("The section's first line says `{first}`. Write the same, or nothing."),
                );
            }
        }
    }
    let next = u16::try_from(section.rows.len() + 1).unwrap_or(u16::MAX);
    if line.number("row", ROWS_MAX, faults).is_some_and(|row| row != next) {
        faults.at(
            line.number,
            "row",
            &format!("{next}열이 올 차례예요."),
            &format!("Row {next} comes next in this section."),
        );
    }
    // A row that cannot be read still has its place, so that those behind it are not told off for it.
    let Some(seats) = line.number("seats", SEATS_IN_A_ROW_MAX, faults) else {
        section.rows.push(1);
        return;
    };
    section.rows.push(seats);
    if let Some(places) = line.seats("wheelchair", seats, faults) {
        section.wheelchair.push(Block { rows: (next, next), seats: places });
    }
    if let Some(places) = line.seats("sight", seats, faults) {
        let note = Text { ko: line.text("note_ko", 60, faults), en: line.text("note_en", 60, faults) };
        let from = Block { rows: (next, next), seats: places };
        match section.sight.last_mut() {
            // The same note from the same seats one row further back is one note.
            Some(last) if last.note == note && last.from.seats == places && last.from.rows.1 + 1 == next => {
                last.from.rows.1 = next;
            }
            _ => section.sight.push(Sight { from, note }),
        }
    } else if line.cell("sight").is_empty() {
        for column in ["note_ko", "note_en"] {
            if !line.cell(column).is_empty() {
                faults.at(
                    line.number,
                    "sight",
                    "어느 좌석에서 보이는 것인지 적어 주세요.",
                    "Say from which seats this is so.",
                );
                break;
            }
        }
    }
}

fn begun(line: &Line<'_>, id: &str, faults: &mut Faults) -> Drawn {
    let grade = line.cell("grade");
    if GRADES.iter().all(|(word, ..)| *word != grade) {
        faults.at(line.number, "grade", "VIP, R, S, A 가운데 하나를 적어 주세요.", "Write VIP, R, S or A.");
    }
    let floor =
        if line.cell("floor").is_empty() { Some(1) } else { line.number("floor", FLOORS_MAX, faults) };
    Drawn {
        floor: floor.unwrap_or(1),
        section: Section {
            id: id.to_owned(),
            name: Text { ko: line.text("name_ko", 20, faults), en: line.text("name_en", 20, faults) },
            grade: grade.to_owned(),
            from_deg: 0.0,
            to_deg: 0.0,
            first_row: FIRST_ROW,
            row_pitch: ROW_PITCH,
            rows: Vec::new(),
            sight: Vec::new(),
            wheelchair: Vec::new(),
        },
    }
}

/// Gives every section its place: floors behind each other, sections of a floor beside each other.
fn arranged(drawn: Vec<Drawn>) -> Layout {
    let mut floors: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (i, d) in drawn.iter().enumerate() {
        floors.entry(d.floor).or_default().push(i);
    }
    let mut sections: Vec<Section> = drawn.into_iter().map(|d| d.section).collect();
    let mut first_row = FIRST_ROW;
    for members in floors.values() {
        let width = |i: &usize| f64::from(sections[*i].rows.iter().copied().max().unwrap_or(1)).max(6.0);
        let widths: Vec<f64> = members.iter().map(width).collect();
        let whole: f64 = widths.iter().sum();
        let mut end = TO_DEG;
        let mut depth = 0.0_f64;
        for (i, width) in members.iter().zip(widths) {
            let share = (TO_DEG - FROM_DEG) * width / whole;
            let gap = GAP_DEG.min(share / 4.0);
            let section = &mut sections[*i];
            section.from_deg = hundredths(end - share + gap / 2.0);
            section.to_deg = hundredths(end - gap / 2.0);
            section.first_row = first_row;
            end -= share;
            depth = depth.max(f64::from(u16::try_from(section.rows.len()).unwrap_or(0)) * ROW_PITCH);
        }
        first_row += depth + BETWEEN_FLOORS;
    }
    let outer = first_row - BETWEEN_FLOORS + ROW_PITCH;
    let half = outer * (FROM_DEG).to_radians().cos() + 40.0;
    Layout {
        width: hundredths(half * 2.0),
        height: hundredths(outer + ABOVE + 30.0),
        centre: (hundredths(half), ABOVE),
        stage: Stage { x: hundredths(half - 150.0), y: 20.0, width: 300.0, height: 96.0 },
        sections,
    }
}

fn hundredths(n: f64) -> f64 {
    (n * 100.0).round() / 100.0
}

/// CSV as RFC 4180 writes it: every record that is not empty, with the line on which it begins.
fn records(csv: &str, faults: &mut Faults) -> Vec<(usize, Vec<String>)> {
    let mut records = Vec::new();
    let (mut line, mut began) = (1, 1);
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = csv.trim_start_matches('\u{feff}').chars().peekable();
    let mut end = |cells: &mut Vec<String>, cell: &mut String, began: usize| {
        cells.push(std::mem::take(cell));
        let record = std::mem::take(cells);
        if record.iter().any(|c| !c.trim().is_empty()) {
            records.push((began, record));
        }
    };
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.trim().is_empty() => {
                cell.clear();
                quoted = true;
            }
            ',' | '\t' if !quoted => cells.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' => {
                line += 1;
                if quoted {
                    cell.push('\n');
                } else {
                    end(&mut cells, &mut cell, began);
                    began = line;
                }
            }
            letter => cell.push(letter),
        }
    }
    if quoted {
        faults.push(began, None, "따옴표가 닫히지 않았어요.", "A quotation mark is not closed.");
    }
    end(&mut cells, &mut cell, began);
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Hall;

    const GOOD: &str = "section,name_ko,name_en,grade,floor,row,seats,wheelchair,sight,note_ko,note_en\r\n\
        A1,1층 왼쪽,Stalls left,R,1,1,8,,1-2,조금 가려요,A little hidden\r\n\
        A1,,,,,2,10,,1-2,조금 가려요,A little hidden\r\n\
        A2,\"1층, 가운데\",Stalls centre,VIP,1,1,12,,,,\r\n\
        \r\n\
        A2,,,,,2,14,13-14,,,\r\n\
        B1,2층,Circle,S,2,1,20,,,,\r\n";

    /// Faults as `line column`.
    fn faults(csv: &str) -> Vec<String> {
        let faults = layout(csv).unwrap_err();
        assert!(faults.iter().all(|f| !f.what.ko.is_empty() && !f.what.en.is_empty()));
        faults.iter().map(|f| format!("{} {}", f.line, f.column.unwrap_or("*"))).collect()
    }

    #[test]
    fn a_hall_is_read_with_everything_that_its_seats_are() {
        let layout = layout(GOOD).unwrap();
        let hall = Hall::new(1, Text::new("홀", "Hall"), 64, layout);
        let ids: Vec<&str> = hall.layout.sections.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids, ["A1", "A2", "B1"]);
        assert_eq!(hall.layout.sections.iter().map(Section::capacity).sum::<u32>(), 64);
        let [left, centre, circle] = hall.layout.sections.as_slice() else { panic!() };
        assert_eq!(left.sight.len(), 1, "one note for both rows");
        assert_eq!(left.sight_from(2, 2).unwrap().en, "A little hidden");
        assert_eq!((centre.name.ko.as_str(), centre.is_wheelchair(2, 13)), ("1층, 가운데", true));
        assert!(hall.section_of("A2-2-14").is_some() && hall.section_of("A2-2-15").is_none());
        // The audience's left is the larger angle, a floor further up is further away, and nothing overlaps.
        assert!(left.from_deg > centre.to_deg && circle.first_row > centre.first_row + 2.0 * ROW_PITCH);
        for section in &hall.layout.sections {
            let (_, (x, y)) = crate::view::theatre::outline(&hall, section);
            assert!((0.0..hall.layout.width).contains(&x) && (0.0..hall.layout.height).contains(&y));
        }
    }

    #[test]
    fn every_fault_is_told_with_its_line_and_column() {
        assert_eq!(faults(""), ["1 *"]);
        assert_eq!(
            faults("section,colour\nA1,red"),
            ["1 *", "1 name_ko", "1 name_en", "1 grade", "1 row", "1 seats"]
        );
        let head = "section,name_ko,name_en,grade,row,seats,wheelchair,sight,note_ko,note_en\n";
        let told = |lines: &str| faults(&format!("{head}{lines}"));
        assert_eq!(told(""), ["1 *"]);
        assert_eq!(told("a1,ㄱ,a,R,1,8,,,,"), ["2 section"]);
        assert_eq!(told("A1,ㄱ,a,R,1,8,,,"), ["2 *"]);
        assert_eq!(told("A1,ㄱ,a,R,2,0,,,,\nA1,,,,2,8,9,,,"), ["2 row", "2 seats", "3 wheelchair"]);
        assert_eq!(told("A1,,a,gold,1,8,,,,"), ["2 grade", "2 name_ko"]);
        assert_eq!(
            told("A1,ㄱ,a,R,1,8,,1-2,,\nA1,,,S,2,8,,,메모,"),
            ["2 note_ko", "2 note_en", "3 grade", "3 sight"]
        );
        assert_eq!(told("A1,ㄱ,a,R,1,8,,,,\nB1,ㄴ,b,R,1,8,,,,\nA1,,,,2,8,,,,"), ["4 section"]);
        // A name over two lines: the lines behind it are counted as the spreadsheet does.
        assert_eq!(told("A1,\"ㄱ\nㄴ\",a,R,1,8,,,,\nA1,,,,x,8,,,,"), ["2 name_ko", "4 row"]);
        assert_eq!(told("A1,\"ㄱ,a,R,1,8,,,,").first().map(String::as_str), Some("2 *"));
        let endless = "A1,ㄱ,a,R,1,x,,,,\n".repeat(100);
        assert_eq!(told(&endless).len(), FAULTS_MAX);
    }
}
