//! The pictures.

use std::error::Error;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::measure::Spread;
use crate::peers::ALL;

type Result = std::result::Result<(), Box<dyn Error + Send + Sync>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Peers keep their colours from picture to picture; these differ for the colour-blind, too.
fn color(peer: &str) -> RGBColor {
    match peer {
        "anypoll" => RGBColor(213, 38, 30),
        "libc::epoll_wait" => RGBColor(30, 30, 30),
        "mio" => RGBColor(0, 114, 178),
        "polling" => RGBColor(230, 159, 0),
        "calloop" => RGBColor(0, 158, 115),
        "libuv" => RGBColor(204, 121, 167),
        "libev" => RGBColor(86, 180, 233),
        "libevent" => RGBColor(140, 86, 75),
        _ => RGBColor(90, 90, 200),
    }
}

const GREY: RGBColor = RGBColor(215, 215, 215);
const TITLE: u32 = 18;
const LABEL: u32 = 14;

fn words(size: u32, across: HPos, down: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK).pos(Pos::new(across, down))
}

/// Each once, in the order of the tables.
fn in_order(peers: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut peers: Vec<_> = peers.collect();
    peers.sort_by_key(|peer| ALL.iter().position(|entry| entry.name == *peer));
    peers.dedup();
    peers
}

/// A line of names with their colours, as long as it gets.
fn legend(area: &Area<'_>, peers: &[&str], (mut x, y): (i32, i32)) -> Result {
    for peer in peers {
        area.draw(&Circle::new((x, y), 5, color(peer).filled()))?;
        area.draw(&Text::new(*peer, (x + 10, y), words(LABEL, HPos::Left, VPos::Center)))?;
        x += 38 + 7 * i32::try_from(peer.len())?;
    }
    Ok(())
}

/// One panel: its name, and each peer's line through (x, y).
pub(crate) struct Panel {
    pub(crate) name: String,
    pub(crate) lines: Vec<(&'static str, Vec<(f64, f64)>)>,
}

/// Panels beside each other over one pair of axes, the one across logarithmic.
pub(crate) fn lines(path: &str, title: &str, x: &str, y: &str, panels: &[Panel]) -> Result {
    let root = SVGBackend::new(path, (960, 470)).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, rest) = root.split_vertically(40);
    let (body, foot) = rest.split_vertically(390);
    head.draw(&Text::new(title, (480, 22), words(TITLE, HPos::Center, VPos::Center)))?;
    let points = || panels.iter().flat_map(|panel| &panel.lines).flat_map(|(_, line)| line);
    let bounds = |of: fn(&(f64, f64)) -> f64, room: f64| {
        let (low, high) = points()
            .map(of)
            .fold((1.0, 1.0), |(low, high), value| (f64::min(low, value), f64::max(high, value)));
        low / room..high * room
    };
    let from = points().map(|(x, _)| *x).fold(f64::MAX, f64::min);
    let across = from / 2.3..bounds(|(x, _)| *x, 1.3).end;
    let down = bounds(|(_, y)| *y, 1.06);
    let middle = panels.len() / 2;
    for (i, (panel, area)) in panels.iter().zip(body.split_evenly((1, panels.len()))).enumerate() {
        let mut chart = ChartBuilder::on(&area)
            .caption(&panel.name, ("sans-serif", 16))
            .margin_left(6)
            .margin_right(28)
            .x_label_area_size(48)
            .y_label_area_size(52)
            .build_cartesian_2d(across.clone().log_scale(), down.clone())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GREY)
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", LABEL))
            .axis_desc_style(("sans-serif", LABEL))
            .x_desc(if i == middle { x } else { "" })
            .y_desc(if i == 0 { y } else { "" })
            .x_labels(4)
            .y_labels(8)
            .x_label_formatter(&|x| power_of_ten(*x))
            .y_label_formatter(&|y| format!("{y:.1}"))
            .draw()?;
        let one = [(across.start, 1.0), (across.end, 1.0)];
        chart.draw_series(LineSeries::new(one, BLACK.stroke_width(1)))?;
        // What this is about goes on top.
        for (peer, line) in panel.lines.iter().rev() {
            let width = if *peer == "anypoll" { 3 } else { 2 };
            let style = color(peer).stroke_width(width);
            chart.draw_series(LineSeries::new(line.iter().copied(), style))?;
            let dot = |point: &(f64, f64)| Circle::new(*point, 3 + width / 2, color(peer).filled());
            chart.draw_series(line.iter().map(dot))?;
        }
    }
    let peers = in_order(panels.iter().flat_map(|panel| &panel.lines).map(|(peer, _)| *peer));
    legend(&foot, &peers, (60, 18))?;
    root.present()?;
    Ok(())
}

fn power_of_ten(number: f64) -> String {
    if number < 1_000.0 { format!("{number:.0}") } else { format!("{:.0},000", number / 1_000.0) }
}

/// A workload's name, and each peer's ratio.
pub(crate) type Group = (String, Vec<(&'static str, Spread)>);

/// Ratios on a logarithmic axis, each drawn from 1 to its median, with its quartiles.
pub(crate) fn ratios(path: &str, title: &str, x: &str, groups: &[Group]) -> Result {
    const STEP: i32 = 13;
    const LEFT: i32 = 300;
    const RIGHT: i32 = 930;
    const TOP: i32 = 48;
    let peers = in_order(groups.iter().flat_map(|(_, ratios)| ratios).map(|(peer, _)| *peer));
    let height_of = |group: &Group| STEP * i32::try_from(group.1.len()).unwrap_or(0) + 14;
    let bottom = TOP + groups.iter().map(height_of).sum::<i32>();
    let has_legend = peers.len() > 1;
    let height = u32::try_from(bottom + if has_legend { 84 } else { 56 })?;
    let root = SVGBackend::new(path, (960, height)).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Text::new(title, (480, 22), words(TITLE, HPos::Center, VPos::Center)))?;

    let all = || groups.iter().flat_map(|(_, ratios)| ratios).map(|(_, ratio)| ratio);
    let low = all().map(|ratio| ratio.low).fold(0.9, f64::min) / 1.05;
    let high = all().map(|ratio| ratio.high).fold(1.1, f64::max) * 1.05;
    let coord: RangedCoordf64 = (low.ln()..high.ln()).into();
    let at = |ratio: f64| coord.map(&ratio.ln(), (LEFT, RIGHT));
    for tick in ticks(low, high) {
        let style = if tick == 1.0 { BLACK.stroke_width(1) } else { GREY.stroke_width(1) };
        root.draw(&PathElement::new([(at(tick), TOP), (at(tick), bottom)], style))?;
        let label = words(LABEL, HPos::Center, VPos::Top);
        root.draw(&Text::new(format!("{tick}"), (at(tick), bottom + 6), label))?;
    }
    let middle = (LEFT + RIGHT) / 2;
    root.draw(&Text::new(x, (middle, bottom + 28), words(LABEL, HPos::Center, VPos::Top)))?;
    let mut y = TOP;
    for group in groups {
        let (name, ratios) = group;
        let here = (LEFT - 12, y + height_of(group) / 2);
        root.draw(&Text::new(name.as_str(), here, words(LABEL, HPos::Right, VPos::Center)))?;
        for (i, (peer, ratio)) in ratios.iter().enumerate() {
            let line = y + 7 + STEP / 2 + STEP * i32::try_from(i)?;
            let color = color(peer);
            let stem = [(at(1.0), line), (at(ratio.median), line)];
            root.draw(&PathElement::new(stem, color.stroke_width(4)))?;
            let whisker = [(at(ratio.low), line), (at(ratio.high), line)];
            root.draw(&PathElement::new(whisker, color.mix(0.6).stroke_width(1)))?;
            root.draw(&Circle::new((at(ratio.median), line), 5, color.filled()))?;
        }
        y += height_of(group);
        root.draw(&PathElement::new([(LEFT, y), (RIGHT, y)], GREY.stroke_width(1)))?;
    }
    if has_legend {
        legend(&root, &peers, (LEFT, bottom + 64))?;
    }
    root.present()?;
    Ok(())
}

/// Round numbers on a logarithmic axis, at most about ten.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = match high / low {
        ..3.0 => &[0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5],
        ..30.0 => &[0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0],
        _ => &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0],
    };
    steps.iter().copied().filter(|tick| (low..=high).contains(tick)).collect()
}
