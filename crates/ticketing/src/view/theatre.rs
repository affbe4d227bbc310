//! Where things stand in the drawing of a hall: geometry only.

use crate::catalogue::{Hall, Section};

/// Distance between two seats in the drawing of a section: as wide as a thumb.
pub(crate) const PITCH: f64 = 44.0;

/// A seat in the drawing of its section.
pub(crate) struct Spot {
    pub(crate) seat: String,
    pub(crate) row: u16,
    pub(crate) number: u16,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// A section, drawn with the stage above it.
pub(crate) struct Plan {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) spots: Vec<Spot>,
    /// Where each row's label stands.
    pub(crate) rows: Vec<(u16, f64, f64)>,
}

/// Lays a section out: rows curve gently around the stage, seats a thumb apart.
pub(crate) fn plan(section: &Section) -> Plan {
    let spread = (section.to_deg - section.from_deg).to_radians().max(0.05);
    let first = f64::from(section.rows.first().copied().unwrap_or(1));
    // The ring on which the first row is exactly as wide as the section's angle; flatter than in the hall, so that
    // wide sections stay readable.
    let radius = (first * PITCH / spread).max(1_200.0);
    let mut spots = Vec::new();
    let mut rows = Vec::new();
    for (row, count) in (1u16..).zip(&section.rows) {
        let r = radius + f64::from(row - 1) * PITCH;
        let step = PITCH / r;
        let start = -step * (f64::from(*count) - 1.0) / 2.0;
        let at = |turn: f64| (r * turn.sin(), r * turn.cos() - radius);
        for number in 1..=*count {
            let (x, y) = at(start + step * f64::from(number - 1));
            spots.push(Spot { seat: format!("{}-{row}-{number}", section.id), row, number, x, y });
        }
        let (x, y) = at(start - step);
        rows.push((row, x, y));
    }
    let left = rows.iter().map(|r| r.1).fold(f64::MAX, f64::min) - PITCH / 2.0;
    let right = spots.iter().map(|s| s.x).fold(f64::MIN, f64::max) + PITCH / 2.0;
    let top = spots.iter().map(|s| s.y).fold(f64::MAX, f64::min) - PITCH / 2.0;
    let bottom = spots.iter().map(|s| s.y).fold(f64::MIN, f64::max) + PITCH / 2.0;
    for spot in &mut spots {
        spot.x -= left;
        spot.y -= top;
    }
    for row in &mut rows {
        row.1 -= left;
        row.2 -= top;
    }
    Plan { width: right - left, height: bottom - top, spots, rows }
}

/// The outline of a section in the hall, and the point where its name stands.
pub(crate) fn outline(hall: &Hall, section: &Section) -> (String, (f64, f64)) {
    let (cx, cy) = hall.layout.centre;
    let rows = f64::from(u16::try_from(section.rows.len()).unwrap_or(0));
    let inner = section.first_row - section.row_pitch / 2.0;
    let outer = inner + rows * section.row_pitch;
    let at = |r: f64, deg: f64| (cx + r * deg.to_radians().cos(), cy + r * deg.to_radians().sin());
    let (a, b) = (at(inner, section.from_deg), at(inner, section.to_deg));
    let (c, d) = (at(outer, section.to_deg), at(outer, section.from_deg));
    let path = format!(
        "M{:.1} {:.1}A{inner:.1} {inner:.1} 0 0 1 {:.1} {:.1}L{:.1} {:.1}A{outer:.1} {outer:.1} 0 0 0 {:.1} {:.1}Z",
        a.0, a.1, b.0, b.1, c.0, c.1, d.0, d.1
    );
    (path, at((inner + outer) / 2.0, (section.from_deg + section.to_deg) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::season;

    #[test]
    fn everything_stands_inside_its_drawing_and_no_seat_on_another() {
        for hall in season(1_800_000_000_000).halls {
            for section in &hall.layout.sections {
                let (_, (x, y)) = outline(&hall, section);
                assert!((0.0..hall.layout.width).contains(&x), "{} {x}", section.id);
                assert!((0.0..hall.layout.height).contains(&y), "{} {y}", section.id);
                let plan = plan(section);
                assert_eq!(plan.spots.len(), usize::try_from(section.capacity()).unwrap());
                for (i, a) in plan.spots.iter().enumerate() {
                    assert!(a.x > 0.0 && a.x < plan.width && a.y > 0.0 && a.y < plan.height);
                    for b in &plan.spots[i + 1..] {
                        let apart = (a.x - b.x).hypot(a.y - b.y);
                        assert!(apart > PITCH * 0.9, "{} {} {apart}", a.seat, b.seat);
                    }
                }
            }
        }
    }
}
