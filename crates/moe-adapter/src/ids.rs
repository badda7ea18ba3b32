use std::collections::HashSet;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use router::stable_hash;

/// Gives every parameter the identity of its path.
pub(crate) fn with_stable_ids<A: Module>(adapter: A, path: &str) -> A {
    struct Ids {
        path: Vec<String>,
    }
    impl ModuleMapper for Ids {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (_, tensor, mapper) = param.consume();
            let id = ParamId::from(stable_hash(self.path.join(".").bytes()));
            Param::from_mapped_value(id, tensor, mapper)
        }
    }
    adapter.map(&mut Ids { path: vec![path.to_owned()] })
}

/// The identities of the factors `B` of all experts of a model, which LoRA+ (arXiv 2402.12354)
/// trains with a learning rate of their own.
pub fn lora_b_ids<M: Module>(model: &M) -> HashSet<ParamId> {
    #[derive(Default)]
    struct Factors {
        names: Vec<String>,
        ids: HashSet<ParamId>,
    }
    impl ModuleVisitor for Factors {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.names.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.names.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let of_start = self.names.iter().any(|name| name == "start");
            if self.names.last().is_some_and(|name| name == "lora_b") && !of_start {
                self.ids.insert(param.id);
            }
        }
    }
    let mut factors = Factors::default();
    model.visit(&mut factors);
    factors.ids
}
