//! The page in a real browser.

use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{tests::synthetic, write_study_report};

const LIMIT: Duration = Duration::from_secs(60);

/// Clicks on every column of every table twice and checks the order, then says so in the page.
const CHECK: &str = r#"
<script>
let clicked = 0;
document.querySelectorAll('table.sortable').forEach((table) => {
  const body = table.tBodies[table.tBodies.length - 1];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    for (let turn = 0; turn < 2; turn += 1) {
      head.querySelector('button').click();
      clicked += 1;
      const down = head.getAttribute('aria-sort') === 'descending';
      const keys = [...body.rows].map((row) => row.cells[column].dataset.sort);
      const numbers = keys.filter((key) => key).map(Number);
      const sorted = [...numbers].sort((a, b) => (down ? b - a : a - b));
      if (numbers.join() !== sorted.join()) throw new Error(`${table.id} ${column} is not sorted`);
      const blank = keys.findIndex((key) => key === '');
      if (blank >= 0 && keys.slice(blank).some((key) => key)) throw new Error('blank is not last');
    }
  });
});
document.querySelectorAll('figure').forEach((figure) => {
  const box = figure.querySelector('svg').getBoundingClientRect();
  const page = document.documentElement.clientWidth;
  if (box.width < 100 || box.height < 60) throw new Error('a figure has no extent');
  if (box.right > page + 1) throw new Error('a figure is wider than the page');
});
if (document.documentElement.scrollWidth > document.documentElement.clientWidth) {
  throw new Error('the page is wider than the window');
}
document.body.dataset.clicked = clicked;
</script>
"#;

/// The document after its scripts ran, and what the browser said; `None` without a browser.
fn opened(page: &Path) -> Option<(String, String)> {
    let browser = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success())
    })?;
    let profile = tempfile::tempdir().unwrap();
    let mut child = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--disable-quic", "--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--window-size=500,900"])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reader = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let (document, log) = (reader(Box::new(stdout)), reader(Box::new(stderr)));
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the browser did not finish within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Some((document.join().unwrap(), log.join().unwrap()))
}

#[test]
fn page_works_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let page = write_study_report(&synthetic(), folder.path()).unwrap();
    let html = std::fs::read_to_string(&page).unwrap();
    std::fs::write(&page, html.replace("</body>", &format!("{CHECK}</body>"))).unwrap();
    let Some((document, log)) = opened(&page) else {
        println!("skipped: no chromium on the path");
        return;
    };
    for line in log.lines() {
        assert!(!line.contains("CONSOLE"), "{line}");
    }
    assert_eq!(document.matches("data-sortable=\"ready\"").count(), 5, "{log}");
    assert_eq!(document.matches("data-sorted=").count(), 5);
    // 10, 11, 8, 6 and 9 columns, each twice.
    assert!(document.contains("data-clicked=\"88\""));
    for id in [
        "results",
        "figures",
        "all-amounts",
        "experts",
        "training",
        "rates",
        "all-methods",
        "measured",
        "reproduce",
    ] {
        assert!(document.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    assert_eq!(document.matches("<figure>").count(), 7 + 7 + 1);
}
