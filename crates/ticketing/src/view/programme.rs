//! The organiser's pages for what is put on sale: halls, shows, performances, guests' seats.

use maud::{Markup, html};

use super::{Frame, organiser::tabs, page, part};
use crate::{
    calendar::date_time,
    catalogue::{Catalogue, Category, Event, GRADES, Text},
    desk::HallRefusal,
    lang::thousands,
    store::Kept,
};

/// A small hall, as its file looks.
const EXAMPLE: &str = "section,name_ko,name_en,grade,floor,row,seats,wheelchair,sight,note_ko,note_en
A1,1층 왼쪽,Stalls left,R,1,1,8,,1-2,무대 한쪽이 가려질 수 있어요,A part of the stage may be hidden
A1,,,,,2,10,,,,
A2,1층 가운데,Stalls centre,VIP,1,1,12,,,,
A2,,,,,2,14,13-14,,,
B1,2층,Circle,S,2,1,20,,,,
";

/// A text in both languages, each in a field of its own.
fn both(
    frame: &Frame<'_>,
    name: &str,
    label: (&str, &str),
    max: usize,
    value: &dyn Fn(&str) -> String,
) -> Markup {
    let label = frame.t(label.0, label.1);
    html! {
        @for (code, lang) in [("ko", frame.t("한국어", "Korean")), ("en", frame.t("영어", "English"))] {
            @let field = format!("{name}_{code}");
            label { span { (label) " " span.quiet { "(" (lang) ")" } }
                input name=(field) lang=(code) required maxlength=(max) value=(value(&field)); }
        }
    }
}

fn made_notice(frame: &Frame<'_>, made: bool) -> Markup {
    html! { @if made {
        p.notice.good role="status" { (frame.t("넣었어요. 몇 초 안에 모든 화면에 나타나요.", "Done. Every page shows it within seconds.")) }
    } }
}

/// Halls, and a form for a new one.
pub(crate) fn halls(
    frame: &Frame<'_>,
    catalogue: &Catalogue,
    (name, csv): &(Text, &str),
    refusal: Option<&HallRefusal>,
    made: Option<u32>,
) -> Markup {
    let lang = frame.lang();
    let title = frame.t("공연장", "Halls");
    let value = |field: &str| if field.ends_with("_ko") { name.ko.clone() } else { name.en.clone() };
    let body = html! {
        (tabs(frame, "/organiser/halls"))
        h1 { (title) }
        (made_notice(frame, made.is_some()))
        ul.doors { @for hall in &catalogue.halls { li {
            strong { (hall.name.in_lang(lang)) } " "
            span.quiet { (hall.layout.sections.len()) (frame.t("구역 ", " sections, ")) (thousands(hall.capacity.into())) (frame.t("석", " seats")) }
        } } }
        h2 { (frame.t("새 공연장", "A new hall")) }
        @match refusal {
            None => {}
            Some(HallRefusal::No(no)) => { (part::notice(&no.sentence(lang))) }
            Some(HallRefusal::Faults(faults)) => {
                div.notice role="alert" {
                    p { (frame.t("고칠 곳이 있어 아직 넣지 않았어요.", "Nothing was taken yet. Please mend this:")) }
                    ul #faults { @for fault in faults { li {
                        strong { (frame.t("", "Line ")) (fault.line) (frame.t("번째 줄", "")) @if let Some(column) = fault.column { " · " code { (column) } } }
                        " " (fault.what.in_lang(lang))
                    } } }
                }
            }
        }
        form.fields method="post" action="/organiser/halls" {
            (frame.token_field())
            (both(frame, "name", ("이름", "Name"), 40, &value))
            label { span { (frame.t("좌석 표 (CSV)", "Seats (CSV)")) }
                textarea name="csv" rows="12" required spellcheck="false" aria-describedby="how" { (if csv.is_empty() { EXAMPLE } else { *csv }) } }
            button.button { (frame.t("공연장 넣기", "Take this hall")) }
        }
        p.quiet #how {
            (frame.t("좌석 열마다 한 줄이에요. 스프레드시트에서 그대로 붙여 넣을 수 있어요. 구역의 이름·등급·층은 첫 줄에만 적으면 돼요. 등급: ",
                "One line for each row of seats; you can paste it from a spreadsheet. A section's name, grade and floor stand on its first line. Grades: "))
            (GRADES.map(|g| g.0).join(", "))
        }
    };
    page(frame, title, body)
}

/// Shows and performances, with forms for new ones. `was` is what a form said that was refused.
pub(crate) fn programme<'f>(
    frame: &Frame<'_>,
    catalogue: &Catalogue,
    was: &dyn Fn(&str) -> &'f str,
    notice: Option<&str>,
    made: Option<u32>,
) -> Markup {
    let lang = frame.lang();
    let title = frame.t("공연과 회차", "Shows and performances");
    let body = html! {
        (tabs(frame, "/organiser/programme"))
        h1 { (title) }
        (made_notice(frame, made.is_some()))
        @if let Some(sentence) = notice { (part::notice(sentence)) }
        section aria-labelledby="new-performance" {
            h2 #new-performance { (frame.t("새 회차", "A new performance")) }
            (performance_form(frame, catalogue, was, made))
        }
        section aria-labelledby="new-show" {
            h2 #new-show { (frame.t("새 공연", "A new show")) }
            (show_form(frame, was))
        }
        section aria-labelledby="new-discount" {
            h2 #new-discount { (frame.t("새 할인 (권종)", "A new discount")) }
            (discount_form(frame, catalogue, was))
        }
        section aria-labelledby="all" {
            h2 #all { (frame.t("모든 회차", "All performances")) }
            div.scroll tabindex="0" role="region" aria-labelledby="all" { table.report {
                thead { tr {
                    th scope="col" { (frame.t("공연", "Show")) } th scope="col" { (frame.t("일시", "When")) } th scope="col" { (frame.t("공연장", "Hall")) }
                    th scope="col" { (frame.t("예매 시작", "Sale opens")) } th.n scope="col" { (frame.t("한 분", "Limit")) } th scope="col" { (frame.t("초대석", "Guests")) }
                } }
                tbody { @for p in &catalogue.performances { @if let Some(event) = catalogue.event(p.id) { tr {
                    th scope="row" { a href=(format!("/performances/{}", p.id)) { (event.show.title.in_lang(lang)) } }
                    td { (date_time(lang, p.starts_at_ms)) } td { (event.hall.name.in_lang(lang)) } td { (date_time(lang, p.sale_opens_at_ms)) }
                    td.n { (p.account_limit) }
                    td { a href=(format!("/organiser/performances/{}/guests", p.id))
                        aria-label=(format!("{}: {} {}", frame.t("초대석", "Guests"), event.show.title.in_lang(lang), date_time(lang, p.starts_at_ms))) { (frame.t("초대석", "Guests")) } }
                } } } }
            } }
        }
    };
    page(frame, title, body)
}

fn performance_form<'f>(
    frame: &Frame<'_>,
    catalogue: &Catalogue,
    was: &dyn Fn(&str) -> &'f str,
    made: Option<u32>,
) -> Markup {
    let lang = frame.lang();
    // A show that was just taken is the one that gets its first performance.
    let chosen = |id: u32| was("show") == id.to_string() || made == Some(id);
    html! {
        form.fields method="post" action="/organiser/performances" {
            (frame.token_field())
            label { span { (frame.t("공연", "Show")) } select name="show" required {
                @for show in &catalogue.shows { option value=(show.id) selected[chosen(show.id)] { (show.title.in_lang(lang)) } } } }
            label { span { (frame.t("공연장", "Hall")) } select name="hall" required {
                @for hall in &catalogue.halls { option value=(hall.id) selected[was("hall") == hall.id.to_string()] { (hall.name.in_lang(lang)) " (" (thousands(hall.capacity.into())) ")" } } } }
            label { span { (frame.t("공연 시작", "Begins")) " " span.quiet { (frame.t("(한국 시각)", "(Korean time)")) } } input name="starts" type="datetime-local" required value=(was("starts")); }
            label { span { (frame.t("예매 시작", "Sale opens")) " " span.quiet { (frame.t("(한국 시각)", "(Korean time)")) } } input name="sale_opens" type="datetime-local" required value=(was("sale_opens")); }
            label { span { (frame.t("한 분이 살 수 있는 매수", "Tickets for each account")) } input name="limit" type="number" min="1" max="8" required value=(if was("limit").is_empty() { "4" } else { was("limit") }); }
            button.button { (frame.t("회차 넣기", "Put it on sale")) }
        }
    }
}

fn show_form<'f>(frame: &Frame<'_>, was: &dyn Fn(&str) -> &'f str) -> Markup {
    let value = |field: &str| was(field).to_owned();
    let plain = |name: &str, label: &str, kind: &str, value: &str| {
        html! { label { span { (label) } input name=(name) type=(kind) required value=(value); } }
    };
    html! {
        form.fields method="post" action="/organiser/shows" {
            (frame.token_field())
            label { span { (frame.t("분류", "Kind")) } select name="category" {
                @for c in Category::ALL { option value=(c.word()) selected[was("category") == c.word()] { (c.name(frame.lang())) } } } }
            (both(frame, "title", ("제목", "Title"), 60, &value))
            (both(frame, "tagline", ("한 줄 소개", "Line under the title"), 100, &value))
            (both(frame, "about", ("소개", "Description"), 1_000, &value))
            (both(frame, "cast", ("출연", "Who plays"), 100, &value))
            (plain("slug", frame.t("주소 (영어 소문자, 숫자, -)", "Address (a-z, 0-9 and -)"), "text", was("slug")))
            (plain("runtime_min", frame.t("관람 시간 (분)", "Length in minutes"), "number", was("runtime_min")))
            (plain("age_min", frame.t("관람 나이 (0은 누구나)", "From which age (0 is everybody)"), "number", was("age_min")))
            @for (word, ko, en) in GRADES {
                @let field = format!("price_{word}");
                label { span { (frame.t(ko, en)) " " span.quiet { (frame.t("가격 (원, 없으면 비워 두기)", "price in won (empty: there is none)")) } }
                    input name=(field) inputmode="numeric" value=(was(&field)); }
            }
            button.button { (frame.t("공연 넣기", "Take this show")) }
        }
    }
}

/// Who pays less. Texts of the proof may stay empty: then nothing must be shown.
fn discount_form<'f>(frame: &Frame<'_>, catalogue: &Catalogue, was: &dyn Fn(&str) -> &'f str) -> Markup {
    let lang = frame.lang();
    html! {
        details.step { summary { (frame.t("할인 넣기", "Add one")) }
        form.fields method="post" action="/organiser/discounts" {
            (frame.token_field())
            label { span { (frame.t("공연", "Show")) } select name="show" required {
                @for show in &catalogue.shows { option value=(show.id) selected[was("show") == show.id.to_string()] {
                    (show.title.in_lang(lang)) @if !show.discounts.is_empty() { " (" (show.discounts.iter().map(|d| d.name.in_lang(lang)).collect::<Vec<_>>().join(", ")) ")" } } } } }
            label { span { (frame.t("짧은 이름 (a-z, 0-9)", "Word (a-z, 0-9)")) } input name="word" required maxlength="16" value=(was("word")); }
            (both(frame, "kind", ("할인 이름", "Name"), 60, &|field| was(field).to_owned()))
            label { span { (frame.t("얼마나", "How much")) } input name="amount" required inputmode="numeric" value=(was("amount")); }
            label { span { (frame.t("단위", "Of what")) } select name="less" {
                option value="percent" { "%" } option value="won" selected[was("less") == "won"] { (frame.t("원", "won")) } } }
            fieldset { legend { (frame.t("등급 (고르지 않으면 모두)", "Grades (all if none is chosen)")) }
                @for (word, ko, en) in GRADES { label.tick { input type="checkbox" name="grade" value=(word); (frame.t(ko, en)) } } }
            label { span { (frame.t("한 예매에 몇 매까지 (비우면 제한 없음)", "Tickets of a booking (empty: no limit)")) } input name="seats_max" type="number" min="1" max="8" value=(was("seats_max")); }
            @for (code, of) in [("ko", frame.t("한국어", "Korean")), ("en", frame.t("영어", "English"))] {
                @let field = format!("proof_{code}");
                label { span { (frame.t("입장할 때 보여 줄 것", "To be shown at the door")) " " span.quiet { "(" (of) (frame.t(", 없으면 비워 두기", ", or empty")) ")" } }
                    input name=(field) lang=(code) maxlength="100" value=(was(&field)); }
            }
            label { span { (frame.t("시작", "From")) } input name="from" type="datetime-local" required value=(was("from")); }
            label { span { (frame.t("끝", "Until")) } input name="until" type="datetime-local" required value=(was("until")); }
            button.button { (frame.t("할인 넣기", "Take this discount")) }
        } }
    }
}

/// Seats that are kept back for guests.
pub(crate) fn guests(
    frame: &Frame<'_>,
    event: &Event<'_>,
    kept: &[Kept],
    (seats, note): (&str, &str),
    notice: Option<&str>,
) -> Markup {
    let lang = frame.lang();
    let title = frame.t("초대석", "Guests' seats");
    let action = format!("/organiser/performances/{}/guests", event.performance.id);
    let body = html! {
        (tabs(frame, ""))
        div.column {
            h1 { (title) }
            p.quiet { (event.show.title.in_lang(lang)) " · " (date_time(lang, event.performance.starts_at_ms)) }
            @if let Some(sentence) = notice { (part::notice(sentence)) }
            form.fields method="post" action=(action) {
                (frame.token_field())
                label { span { (frame.t("좌석 (구역-열-번호)", "Seats (section-row-number)")) } input name="seats" required placeholder="A1-3-12 A1-3-13" value=(seats); }
                label { span { (frame.t("누구를 위한 자리인가요?", "For whom?")) } input name="note" required maxlength="60" value=(note); }
                button.button { (frame.t("자리 빼 두기", "Keep them back")) }
            }
            h2 { (frame.t("빼 둔 자리", "Kept back")) " " span.quiet { (thousands(u64::try_from(kept.len()).unwrap_or(0))) } }
            ul.doors { @for one in kept { li { div.row {
                strong { (event.seat_name(lang, &one.seat)) }
                span.quiet { (if one.note.is_empty() { frame.t("처음부터", "from the beginning") } else { &one.note }) }
                form method="post" action=(action) {
                    (frame.token_field())
                    input type="hidden" name="seats" value=(one.seat);
                    button.plain name="free" value="yes" aria-label=(format!("{}: {}", frame.t("다시 팔기", "Sell it"), event.seat_name(lang, &one.seat))) { (frame.t("다시 팔기", "Sell it")) }
                }
            } } } }
        }
    };
    page(frame, title, body)
}
