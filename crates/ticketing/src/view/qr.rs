//! A QR code as a drawing: black on white in every colour scheme, because readers at doors expect it.

use maud::{Markup, html};
use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around the code, as its standard asks.
const MARGIN: i32 = 4;

/// Draws `text`; nothing if it is too long for any QR code. `label` is what a screen reader says.
pub(crate) fn draw(text: &str, label: &str) -> Markup {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else {
        tracing::error!(length = text.len(), "a ticket is too long for a QR code");
        return html! {};
    };
    let side = code.size() + 2 * MARGIN;
    html! {
        svg.qr viewBox=(format!("0 0 {side} {side}")) role="img" aria-label=(label) shape-rendering="crispEdges" {
            rect width=(side) height=(side) fill="#fff" {}
            path fill="#000" d=(path(&code)) {}
        }
    }
}

/// Each run of dark modules in a row as one rectangle.
fn path(code: &QrCode) -> String {
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).count();
            let run = i32::try_from(run).unwrap_or(0);
            if run > 0 {
                path.push_str(&format!("M{} {}h{run}v1h-{run}z", x + MARGIN, y + MARGIN));
            }
            x += run + 1;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The drawing as a grid of dark and light pixels, a few to a module, read from the path and nothing else.
    fn pixels(svg: &str) -> (usize, Vec<bool>) {
        const SCALE: usize = 4;
        let side: usize =
            svg.split("viewBox=\"0 0 ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let mut dark = vec![false; (side * SCALE).pow(2)];
        let path = svg.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
        for run in path.split('M').skip(1) {
            let (at, run) = run.split_once('h').unwrap();
            let (x, y) = at.split_once(' ').unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            let length: usize = run.split('v').next().unwrap().parse().unwrap();
            for row in y * SCALE..(y + 1) * SCALE {
                dark[row * side * SCALE..][x * SCALE..(x + length) * SCALE].fill(true);
            }
        }
        (side * SCALE, dark)
    }

    #[test]
    fn another_program_reads_what_was_drawn() {
        let ticket = format!("GL1.{}.{}", "AAAB9gAAABm8".repeat(4), "q-_Z".repeat(21));
        let svg = draw(&ticket, "ticket").0;
        let (side, dark) = pixels(&svg);
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(
                side,
                side,
                |x, y| if dark[y * side + x] { 0 } else { 255 },
            );
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        assert_eq!(grids[0].decode().unwrap().1, ticket);
    }
}
