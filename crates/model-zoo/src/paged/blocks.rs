/// Which blocks of a pool are taken, and how often.
#[derive(Debug)]
pub(super) struct Blocks {
    /// How many hold each block.
    holders: Vec<u32>,
    /// Those that were given back, the last first.
    free: Vec<u32>,
    total: usize,
}

impl Blocks {
    pub(super) fn new(total: usize) -> Self {
        Self { holders: Vec::new(), free: Vec::new(), total }
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// How many may still be taken.
    pub(super) fn free(&self) -> usize {
        self.free.len() + self.total - self.holders.len()
    }

    /// How many blocks there have to be: those that were ever taken.
    pub(super) fn touched(&self) -> usize {
        self.holders.len()
    }

    /// A block of its own; one that was used before where there is one.
    pub(super) fn take(&mut self) -> Option<u32> {
        if let Some(block) = self.free.pop() {
            self.holders[block as usize] = 1;
            return Some(block);
        }
        if self.holders.len() == self.total {
            return None;
        }
        self.holders.push(1);
        u32::try_from(self.holders.len() - 1).ok()
    }

    /// One more holds a block.
    pub(super) fn hold(&mut self, block: u32) {
        self.holders[block as usize] += 1;
    }

    /// One less holds a block.
    pub(super) fn give_back(&mut self, block: u32) {
        let holders = &mut self.holders[block as usize];
        *holders -= 1;
        if *holders == 0 {
            self.free.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_free_when_its_last_holder_gives_it_back() {
        let mut blocks = Blocks::new(2);
        let [a, b] = [blocks.take().unwrap(), blocks.take().unwrap()];
        assert!(a != b && blocks.take().is_none() && blocks.free() == 0);
        blocks.hold(a);
        blocks.give_back(a);
        assert_eq!(blocks.free(), 0);
        blocks.give_back(a);
        assert_eq!((blocks.free(), blocks.take()), (1, Some(a)));
        blocks.give_back(b);
        assert_eq!((blocks.free(), blocks.touched()), (1, 2));
    }
}
