use tensor_files::nearest;

/// So many first characters in common make names alike.
const STEM: usize = 4;

/// The names that a message offers for one that is not known: all, and which are the most alike.
pub(super) fn offered(name: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match alike(name, known).as_slice() {
        [] => all,
        alike => format!("{all}; the nearest: {}", alike.join(", ")),
    }
}

fn alike(name: &str, known: &[&str]) -> Vec<String> {
    let common = |other: &str| name.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let mut stems: Vec<_> = known.iter().copied().filter(|other| common(other) >= STEM).collect();
    stems.sort_by_key(|other| std::cmp::Reverse(common(other)));
    let mut found: Vec<String> = stems.into_iter().map(str::to_owned).collect();
    for other in nearest(name, known.iter().copied()) {
        if !found.contains(&other) {
            found.push(other);
        }
    }
    found.truncate(3);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_alike_by_their_stem_or_by_few_letters() {
        let known = ["llama", "mistral", "gemma2", "gemma3_text", "phi3", "qwen3_moe"];
        assert_eq!(alike("gemma3", &known), ["gemma3_text", "gemma2"]);
        assert_eq!(alike("ministral", &known), ["mistral"]);
        assert_eq!(alike("qwen3_vl_moe", &known), ["qwen3_moe"]);
        assert_eq!(alike("gpt2", &known), [""; 0]);
        assert_eq!(offered("gpt2", &known[..2]), "llama, mistral");
        assert_eq!(offered("mistral3", &known[..2]), "llama, mistral; the nearest: mistral");
    }
}
