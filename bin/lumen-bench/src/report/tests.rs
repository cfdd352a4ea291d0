use super::*;
use crate::args;
use crate::cpu::Usage;
use crate::delivery::Delivery;
use crate::measure::{Card, Network};
use std::collections::BTreeMap;

fn rows() -> Vec<Row> {
    match args::parse(lexopt::Parser::from_args(["--all"])).expect("valid") {
        args::Command::Run(options) => options.rows,
        args::Command::Help => panic!("no help asked"),
    }
}

fn measurement(fps: f64, cpu: f64, p95: f64) -> Measurement {
    let latency = Percentiles { p50: 9.0, p95, p99: 20.0, max: 30.0 };
    Measurement {
        delivery: Delivery {
            fps,
            frames_per_second: fps,
            share_percent: Some(99.5),
            latency_ms: Some(latency),
            bitrate_kbps: 9_900.0,
            unreadable: 0,
            backwards: 0,
        },
        cpu: Usage { host_percent: cpu, machine_percent: cpu + 20.0, threads_percent: BTreeMap::new() },
        launch_to_frame_ms: Some(150.4),
        resume_to_frame_ms: None,
        stages_us: Some(
            serde_json::json!({"encode": {"p50": 4000, "p95": 5000, "p99": 6000, "max": 1}, "wait": {"p50": 1, "p95": 2, "p99": 3}}),
        ),
        network: Network {
            datagrams: 1,
            bytes: 1,
            frames_lost: 0,
            shards_recovered: 0,
            idr_requests: 1,
            violations: 0,
            dropped_by_bench: 0,
        },
        card: Some(Card { drawn: 660, dropped: 3, cpu_us_per_frame: 900 }),
        seconds: 10.0,
    }
}

#[test]
fn goals_are_compared_each_for_itself() {
    let row = &rows()[0];
    assert!(RowReport::new(row, Ok(measurement(59.95, 59.0, 16.9)), None).missed.is_empty());
    let missed = RowReport::new(row, Ok(measurement(59.5, 61.0, 17.4)), None).missed;
    assert_eq!(missed, ["59.50 of 59.9 fps", "61 % of a core, goal 60 %", "latency p95 17.4 ms, goal 17 ms"]);
    let mut blind = measurement(0.0, 10.0, 0.0);
    blind.delivery.latency_ms = None;
    assert_eq!(RowReport::new(row, Ok(blind), None).missed.len(), 2);
}

#[test]
fn the_table_shows_results_failures_and_stages() {
    let rows = rows();
    let report = Report {
        machine: Machine { cores: 2, processor: "Some processor".into() },
        host_start_ms: 812.0,
        idle_percent: Some(0.0),
        rows: vec![
            RowReport::new(&rows[0], Ok(measurement(59.98, 48.2, 14.0)), Some(0.3)),
            RowReport::new(&rows[1], Err(anyhow::anyhow!("no first frame").context("launching")), None),
            RowReport::new(&rows[3], Ok(measurement(0.0, 9.0, 14.0)), None),
        ],
    };
    let text = table(&report);
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    let first: Vec<String> = line("1280x720@60").split_ascii_whitespace().map(String::from).collect();
    assert_eq!(first[..7], ["1280x720@60", "h264", "scroll", "9.9", "59.98", "99.5", "48.2"]);
    assert_eq!(first[8..], ["9.0", "/", "14.0", "/", "20.0", "150", "-", "0.3"]);
    assert!(text.contains("3 pictures that the test card could not draw"));
    assert!(line("1920x1080@60").ends_with("FAILED: launching: no first frame"), "{text}");
    assert!(text.contains("wait 1 / 2 / 3 · encode 4000 / 5000 / 6000"), "{text}");
    assert!(text.contains("(0.0)"), "{text}");
    let json = serde_json::to_value(&report).expect("plain data");
    assert_eq!(json["rows"][1]["error"], "launching: no first frame");
    assert_eq!(json["rows"][0]["measured"]["stages_us"]["encode"]["p95"], 5000);
}
