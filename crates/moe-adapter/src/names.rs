use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

use crate::state::disk_name;
use crate::trainable::{is_adapter, step_name};

/// The names of the parameters of a model, by their identities: those of adapters and routers as in
/// [`adapter_state`](crate::adapter_state), all others as Hugging Face checkpoints name them.
pub fn parameter_names<M: Module>(model: &M) -> HashMap<ParamId, String> {
    let mut names = Names::default();
    model.visit(&mut names);
    names.names
}

#[derive(Default)]
struct Names {
    segments: Vec<String>,
    /// How many segments lead to the adapter or router that is being visited.
    adapter: Option<usize>,
    names: HashMap<ParamId, String>,
}

impl Names {
    fn name(&self) -> String {
        let join = |segments: &[String]| {
            let named: Vec<_> = segments.iter().filter(|s| !s.is_empty()).cloned().collect();
            named.join(".")
        };
        let (path, name) = match self.adapter {
            Some(depth) => {
                (join(&self.segments[..depth]), disk_name(&join(&self.segments[depth..])))
            }
            None => (String::new(), join(&self.segments)),
        };
        if path.is_empty() { name } else { format!("{path}.{name}") }
    }
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, container: &str) {
        if is_adapter((container, name)) {
            self.adapter = Some(self.segments.len());
        }
        self.segments.push(step_name(container, name).to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.segments.pop();
        if self.adapter == Some(self.segments.len()) {
            self.adapter = None;
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.name();
        self.names.entry(param.id).or_insert(name);
    }
}
