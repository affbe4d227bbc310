//! Posters, drawn: no photographs, no two alike, the same for ever.

use std::fmt::Write;

use crate::catalogue::{Category, Show};

/// Background, shape, light, ink.
type Palette = [&'static str; 4];

const PALETTES: [Palette; 14] = [
    ["#0e1c33", "#27456f", "#ffd27a", "#fff6e3"],
    ["#2a0d17", "#8f1d2c", "#ff9d6b", "#ffeadd"],
    ["#12222b", "#2f6d7e", "#f4e3b2", "#f4fbfa"],
    ["#d9e8df", "#3c7f67", "#f07f5a", "#12382c"],
    ["#08233a", "#0f6fa6", "#b9f2ff", "#f2fcff"],
    ["#17122e", "#4b2fa6", "#ff7ad1", "#fbeeff"],
    ["#0a0a14", "#2a3cff", "#d7ff3e", "#f7ffe0"],
    ["#f2e6d3", "#a34e22", "#2a4d4a", "#3a1b0b"],
    ["#f25c2a", "#7a1d12", "#ffd9a0", "#fff4e6"],
    ["#0d5c4d", "#0a3a38", "#f7c548", "#f3fff4"],
    ["#dcecf5", "#2b6ea6", "#0f2f57", "#0f2f57"],
    ["#1b1030", "#ff3d71", "#3de0ff", "#ffffff"],
    ["#fdeee0", "#1c7fa0", "#ff6f59", "#123a4b"],
    ["#26160f", "#b3541e", "#ffc971", "#fff0dc"],
];

/// Where a show's poster is. The number changes when the drawing does.
pub(crate) fn address(show: &Show) -> String {
    format!("/posters/{}.svg?v=1", show.slug)
}

/// The poster, 600 × 800.
pub(crate) fn draw(show: &Show) -> String {
    let n = usize::try_from(show.id).unwrap_or(0).wrapping_sub(1) % PALETTES.len();
    let palette = PALETTES[n];
    let [ground, _, light, ink] = palette;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 600 800\"><rect width=\"600\" height=\"800\" fill=\"{ground}\"/>"
    );
    motif(&mut svg, n, palette);
    // A veil, so that the title reads on whatever is behind it.
    push(
        &mut svg,
        format_args!(
            "<defs><linearGradient id=\"v\" x2=\"0\" y2=\"1\"><stop stop-color=\"{ground}\" stop-opacity=\"0\"/>\
             <stop offset=\".55\" stop-color=\"{ground}\" stop-opacity=\".92\"/></linearGradient></defs>\
             <rect y=\"470\" width=\"600\" height=\"330\" fill=\"url(#v)\"/>"
        ),
    );
    let kind = match show.category {
        Category::Musical => "MUSICAL",
        Category::Concert => "LIVE IN CONCERT",
        Category::Sports => "MATCH DAY",
    };
    let family =
        "Pretendard,'Apple SD Gothic Neo','Noto Sans KR','Noto Sans CJK KR','Malgun Gothic',sans-serif";
    push(
        &mut svg,
        format_args!(
            "<g font-family=\"{family}\" fill=\"{ink}\"><text x=\"44\" y=\"72\" font-size=\"22\" font-weight=\"700\" \
             letter-spacing=\"6\" fill=\"{light}\">{kind}</text>"
        ),
    );
    let lines = lines(&show.title.ko);
    let widest = lines.iter().map(|l| width(l)).fold(1.0, f64::max);
    let size = (512.0 / widest).clamp(40.0, 84.0);
    let mut y = 716.0 - size * 1.12 * f64::from(u32::try_from(lines.len()).unwrap_or(1) - 1);
    for line in &lines {
        push(
            &mut svg,
            format_args!(
                "<text x=\"44\" y=\"{y:.0}\" font-size=\"{size:.0}\" font-weight=\"800\" letter-spacing=\"-1.5\">{line}</text>"
            ),
        );
        y += size * 1.12;
    }
    push(
        &mut svg,
        format_args!(
            "<text x=\"46\" y=\"758\" font-size=\"20\" font-weight=\"500\" opacity=\".85\">{}</text></g></svg>",
            escape(&show.title.en)
        ),
    );
    svg
}

fn push(svg: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    if svg.write_fmt(what).is_err() {
        tracing::debug!("a poster was cut short");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Width of a line in ems: Hangul is square, Latin about half.
fn width(line: &str) -> f64 {
    line.chars().map(|c| if c.is_ascii() { 0.58 } else { 0.95 }).sum()
}

/// Breaks a title between words into lines of about seven squares.
fn lines(title: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in title.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + width(word) < 7.5 => {
                line.push(' ');
                line.push_str(&escape(word));
            }
            _ => lines.push(escape(word)),
        }
    }
    lines
}

fn motif(svg: &mut String, n: usize, palette: Palette) {
    let [ground, shape, light, _] = palette;
    match n {
        0 => beams(svg, shape, light),
        1 => moon(svg, shape, light, ground),
        2 => rails(svg, shape, light),
        3 => panes(svg, shape, light),
        4 => ripples(svg, shape, light),
        5 => bars(svg, shape, light),
        6 => orbits(svg, shape, light),
        7 => strings(svg, shape, light),
        8 => versus(svg, shape, light, 0.0),
        9 => net(svg, shape, light),
        10 => ice(svg, shape, light),
        11 => bracket(svg, shape, light),
        12 => waves(svg, shape, light),
        _ => stove(svg, shape, light),
    }
}

fn beams(svg: &mut String, shape: &str, light: &str) {
    push(
        svg,
        format_args!(
            "<g fill=\"{light}\"><path d=\"M400 250L-40 90V330Z\" opacity=\".22\"/><path d=\"M400 250L-40 170V250Z\" opacity=\".35\"/>\
             <path d=\"M400 250L640 190V310Z\" opacity=\".18\"/><circle cx=\"400\" cy=\"250\" r=\"92\" opacity=\".16\"/>\
             <circle cx=\"400\" cy=\"250\" r=\"26\"/></g>\
             <path d=\"M362 300h76l34 380H328Z\" fill=\"{shape}\"/><path d=\"M366 292h68v-84h-68ZM384 208l16-34 16 34Z\" fill=\"none\" stroke=\"{light}\" stroke-width=\"5\"/>\
             <path d=\"M355 380h90l8 60H348ZM340 510h120l6 60H334Z\" fill=\"{light}\" opacity=\".2\"/>"
        ),
    );
    for i in 0..26 {
        let (x, y) = (f64::from(i * 137 % 600), f64::from(i * 89 % 420));
        push(svg, format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"1.8\" fill=\"#fff\" opacity=\".7\"/>"));
    }
}

fn moon(svg: &mut String, shape: &str, light: &str, ground: &str) {
    push(
        svg,
        format_args!(
            "<circle cx=\"330\" cy=\"290\" r=\"200\" fill=\"{shape}\"/><circle cx=\"330\" cy=\"290\" r=\"200\" fill=\"none\" stroke=\"{light}\" stroke-width=\"2\" opacity=\".5\"/>\
             <circle cx=\"262\" cy=\"236\" r=\"34\" fill=\"{ground}\" opacity=\".18\"/><circle cx=\"402\" cy=\"338\" r=\"56\" fill=\"{ground}\" opacity=\".16\"/>"
        ),
    );
    for (i, (x, y, turn)) in
        [(96, 300, -14), (214, 408, 9), (404, 206, 18), (340, 452, -8), (150, 160, 12), (470, 420, -20)]
            .into_iter()
            .enumerate()
    {
        let w = 96 - 6 * i;
        let h = w * 2 / 3;
        let (mid, low) = (w / 2, h * 3 / 5);
        push(
            svg,
            format_args!(
                "<g transform=\"translate({x} {y}) rotate({turn})\"><rect width=\"{w}\" height=\"{h}\" rx=\"3\" fill=\"#fff1e4\"/>\
                 <path d=\"M0 0L{mid} {low}L{w} 0\" fill=\"none\" stroke=\"{shape}\" stroke-width=\"3\"/><circle cx=\"{mid}\" cy=\"{low}\" r=\"7\" fill=\"{light}\"/></g>"
            ),
        );
    }
}

fn rails(svg: &mut String, shape: &str, light: &str) {
    push(
        svg,
        format_args!(
            "<circle cx=\"300\" cy=\"270\" r=\"120\" fill=\"{light}\"/><path d=\"M0 270H600V800H0Z\" fill=\"{shape}\"/>\
             <path d=\"M286 270L20 800M314 270L580 800\" stroke=\"{light}\" stroke-width=\"9\"/>"
        ),
    );
    let mut y = 290.0_f64;
    while y < 800.0 {
        let half = 16.0 + (y - 270.0) * 0.56;
        let thick = 3.0 + (y - 270.0) * 0.03;
        push(
            svg,
            format_args!(
                "<path d=\"M{:.0} {y:.0}H{:.0}\" stroke=\"#0b161b\" stroke-width=\"{thick:.1}\" opacity=\".7\"/>",
                300.0 - half,
                300.0 + half
            ),
        );
        y += 10.0 + (y - 270.0) * 0.13;
    }
}

fn panes(svg: &mut String, shape: &str, light: &str) {
    for i in 0..5 {
        let x = 70 + i * 94;
        let opacity = [20, 38, 60, 38, 20][usize::try_from(i).unwrap_or(0)];
        push(
            svg,
            format_args!(
                "<path d=\"M{x} 560V240a47 47 0 0 1 94 0V560Z\" fill=\"{shape}\" opacity=\".{opacity}\" stroke=\"#fff\" stroke-width=\"5\"/>\
                 <path d=\"M{x} 380h94M{x} 470h94\" stroke=\"#fff\" stroke-width=\"3\"/>"
            ),
        );
    }
    push(
        svg,
        format_args!(
            "<path d=\"M305 560C300 470 330 440 302 330\" stroke=\"{shape}\" stroke-width=\"8\" fill=\"none\"/>\
             <g fill=\"{light}\"><ellipse cx=\"302\" cy=\"290\" rx=\"26\" ry=\"52\"/><ellipse cx=\"262\" cy=\"318\" rx=\"22\" ry=\"48\" transform=\"rotate(-52 262 318)\"/>\
             <ellipse cx=\"342\" cy=\"318\" rx=\"22\" ry=\"48\" transform=\"rotate(52 342 318)\"/></g><circle cx=\"302\" cy=\"326\" r=\"15\" fill=\"#fff\"/>"
        ),
    );
}

fn ripples(svg: &mut String, shape: &str, light: &str) {
    push(svg, format_args!("<circle cx=\"410\" cy=\"200\" r=\"78\" fill=\"{light}\"/>"));
    for i in 0u32..22 {
        let y = 300 + i * 20;
        let n = f64::from(i);
        let (x1, w1) = (410.0 - 40.0 - (n * 47.0) % 190.0, 70.0 + (n * 61.0) % 190.0);
        let (x2, w2) = ((n * 83.0) % 420.0, 30.0 + (n * 29.0) % 110.0);
        push(
            svg,
            format_args!(
                "<rect x=\"{x2:.0}\" y=\"{y}\" width=\"{w2:.0}\" height=\"8\" rx=\"4\" fill=\"{shape}\"/>\
                 <rect x=\"{x1:.0}\" y=\"{}\" width=\"{w1:.0}\" height=\"8\" rx=\"4\" fill=\"{light}\" opacity=\".{}\"/>",
                y + 9,
                90 - i * 3
            ),
        );
    }
}

fn bars(svg: &mut String, shape: &str, light: &str) {
    for i in 0u32..15 {
        let height = 60.0 + 330.0 * (f64::from(i) * 1.37).sin().abs();
        let x = 44 + i * 35;
        push(
            svg,
            format_args!(
                "<rect x=\"{x}\" y=\"{:.0}\" width=\"21\" height=\"{height:.0}\" rx=\"10\" fill=\"{}\"/>",
                330.0 - height / 2.0,
                if i % 4 == 1 { light } else { shape }
            ),
        );
    }
    push(svg, format_args!("<path d=\"M0 330H600\" stroke=\"{light}\" stroke-width=\"2\" opacity=\".6\"/>"));
}

fn orbits(svg: &mut String, shape: &str, light: &str) {
    push(svg, format_args!("<circle cx=\"300\" cy=\"310\" r=\"74\" fill=\"{light}\"/>"));
    for i in 0u32..9 {
        let rx = 120 + i * 26;
        let ry = 44 + i * 17;
        let turn = f64::from(i) * 20.0 - 30.0;
        let angle = f64::from(i) * 0.7;
        let (x, y) = (300.0 + f64::from(rx) * angle.cos(), 310.0 + f64::from(ry) * angle.sin());
        push(
            svg,
            format_args!(
                "<g transform=\"rotate({turn:.0} 300 310)\"><ellipse cx=\"300\" cy=\"310\" rx=\"{rx}\" ry=\"{ry}\" fill=\"none\" stroke=\"{shape}\" stroke-width=\"3\"/>\
                 <circle cx=\"{x:.0}\" cy=\"{y:.0}\" r=\"{}\" fill=\"{light}\"/></g>",
                6 + i % 3 * 4
            ),
        );
    }
}

fn strings(svg: &mut String, shape: &str, light: &str) {
    push(
        svg,
        format_args!(
            "<circle cx=\"430\" cy=\"250\" r=\"150\" fill=\"{shape}\"/><circle cx=\"150\" cy=\"420\" r=\"90\" fill=\"{light}\"/>"
        ),
    );
    for i in 0u32..8 {
        let x = 130 + i * 46;
        let sway = 20 + i * 12;
        push(
            svg,
            format_args!(
                "<path d=\"M{x} 100Q{} 330 {x} 620\" fill=\"none\" stroke=\"#3a1b0b\" stroke-width=\"{}\"/>",
                x + sway,
                1 + i / 2
            ),
        );
    }
}

fn versus(svg: &mut String, shape: &str, light: &str, _turn: f64) {
    push(
        svg,
        format_args!(
            "<path d=\"M600 0V800H160Z\" fill=\"{shape}\"/><circle cx=\"330\" cy=\"300\" r=\"170\" fill=\"{light}\"/>\
             <g fill=\"none\" stroke=\"{shape}\" stroke-width=\"7\"><path d=\"M160 300H500M330 130V470M216 176Q300 300 216 424M444 176Q360 300 444 424\"/></g>"
        ),
    );
}

fn net(svg: &mut String, shape: &str, light: &str) {
    push(svg, format_args!("<path d=\"M0 340H600V800H0Z\" fill=\"{shape}\"/>"));
    for i in 0..16 {
        let x = i * 40;
        push(
            svg,
            format_args!(
                "<path d=\"M{x} 340V520M0 {}H600\" stroke=\"#fff\" stroke-width=\"2\" opacity=\".35\"/>",
                340 + i * 12
            ),
        );
    }
    push(
        svg,
        format_args!(
            "<rect y=\"330\" width=\"600\" height=\"14\" fill=\"#fff\"/><circle cx=\"390\" cy=\"220\" r=\"110\" fill=\"{light}\"/>\
             <g fill=\"none\" stroke=\"{shape}\" stroke-width=\"6\"><path d=\"M284 190Q390 200 440 122M300 282Q380 230 496 246M390 330Q360 250 400 110\"/></g>"
        ),
    );
}

fn ice(svg: &mut String, shape: &str, light: &str) {
    for i in 0..6 {
        push(
            svg,
            format_args!(
                "<g transform=\"rotate({} 300 300)\" stroke=\"{shape}\" stroke-width=\"14\" stroke-linecap=\"round\" fill=\"none\">\
                 <path d=\"M300 300V90M300 170l-46-44M300 170l46-44M300 226l-34-32M300 226l34-32\"/></g>",
                i * 60
            ),
        );
    }
    push(
        svg,
        format_args!(
            "<ellipse cx=\"300\" cy=\"306\" rx=\"62\" ry=\"24\" fill=\"{light}\"/><ellipse cx=\"300\" cy=\"292\" rx=\"62\" ry=\"24\" fill=\"{light}\" stroke=\"#fff\" stroke-width=\"3\"/>"
        ),
    );
}

fn bracket(svg: &mut String, shape: &str, light: &str) {
    for (stroke, flip) in [(shape, 1), (light, -1)] {
        push(
            svg,
            format_args!(
                "<g transform=\"translate(300 310) scale({flip} 1)\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"9\">\
                 <path d=\"M-256 -190H-190V-110H-256M-256 -50H-190V30H-256M-256 90H-190V170H-256M-190 -150H-120V-10H-190M-190 130H-120V-10M-120 -70H-64\"/></g>"
            ),
        );
    }
    push(
        svg,
        format_args!(
            "<path d=\"M244 190h112v60a56 66 0 0 1-112 0ZM286 312h28v44h-28ZM262 356h76v22h-76Z\" fill=\"#fff\"/>\
             <path d=\"M244 206h-30v20a36 36 0 0 0 34 36M356 206h30v20a36 36 0 0 1-34 36\" fill=\"none\" stroke=\"#fff\" stroke-width=\"9\"/>"
        ),
    );
}

fn waves(svg: &mut String, shape: &str, light: &str) {
    push(svg, format_args!("<circle cx=\"420\" cy=\"210\" r=\"96\" fill=\"{light}\"/>"));
    for i in 0u32..7 {
        let y = 300 + i * 62;
        let shift = (i % 2) * 75;
        let mut path = format!("M-{} {y}", 150 - shift);
        for _ in 0..6 {
            path.push_str("q37 -46 75 0t75 0");
        }
        push(
            svg,
            format_args!("<path d=\"{path}V800H-150Z\" fill=\"{shape}\" opacity=\".{}\"/>", 24 + i * 6),
        );
    }
}

fn stove(svg: &mut String, shape: &str, light: &str) {
    for i in 0u32..9 {
        let r = 320 - i * 34;
        push(
            svg,
            format_args!(
                "<circle cx=\"300\" cy=\"330\" r=\"{r}\" fill=\"{shape}\" opacity=\".{}\"/>",
                10 + i * 3
            ),
        );
    }
    push(
        svg,
        format_args!(
            "<path d=\"M300 170c60 70 96 110 80 176a82 82 0 0 1-160 0c-8-40 18-62 34-92 8 26 20 34 30 36-8-46 0-80 16-120Z\" fill=\"{light}\"/>\
             <path d=\"M302 300c26 30 40 50 30 78a34 34 0 0 1-64 0c-6-28 20-44 34-78Z\" fill=\"#fff\" opacity=\".85\"/>"
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_show_of_the_season_has_a_small_poster_of_its_own() {
        let season = crate::fixture::season(1_800_000_000_000);
        let mut seen = std::collections::BTreeSet::new();
        for show in &season.shows {
            let svg = draw(show);
            assert!(svg.len() < 12_000, "{} {}", show.slug, svg.len());
            assert!(svg.ends_with("</svg>") && !svg.contains("NaN"));
            assert!(seen.insert(svg));
        }
    }
}
