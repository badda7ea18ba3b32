use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error, invisible where that is no terminal.
pub fn bar(steps: usize, name: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    let template = "{prefix:28} {bar:30} {pos}/{len}  {msg}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    bar
}
