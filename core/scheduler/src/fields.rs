//! Values of hostnames, zones and attributes, each numbered within its field, so that rules about them become lookups.

use std::collections::BTreeMap;
use taffeta_model::{Member, Operator, whole};

/// Number of a field.
pub(crate) type FieldId = usize;
/// Number of a value within its field.
pub(crate) type ValueId = usize;

/// Every machine has it, each another value.
pub(crate) const HOSTNAME: FieldId = 0;
/// A machine without a zone has no value of it.
pub(crate) const ZONE: FieldId = 1;

/// The fields that any machine has, or had.
pub(crate) struct Fields {
    ids: BTreeMap<String, FieldId>,
    fields: Vec<Field>,
}

#[derive(Default)]
struct Field {
    ids: BTreeMap<String, ValueId>,
    values: Vec<String>,
}

impl Default for Fields {
    fn default() -> Self {
        let ids = [("hostname".to_owned(), HOSTNAME), ("zone".to_owned(), ZONE)].into();
        Self { ids, fields: vec![Field::default(), Field::default()] }
    }
}

impl Fields {
    /// The member's values, by rising fields.
    pub(crate) fn read(&mut self, member: &Member) -> Vec<(FieldId, ValueId)> {
        let mut read = vec![(HOSTNAME, self.fields[HOSTNAME].number(member.name.as_str()))];
        if !member.zone.is_empty() {
            read.push((ZONE, self.fields[ZONE].number(&member.zone)));
        }
        for (name, value) in &member.attributes {
            let field = match self.ids.get(name) {
                // The names are taken: what the machine is called and where it is are no attributes.
                Some(&(HOSTNAME | ZONE)) => continue,
                Some(field) => *field,
                None => {
                    self.ids.insert(name.clone(), self.fields.len());
                    self.fields.push(Field::default());
                    self.fields.len() - 1
                }
            };
            read.push((field, self.fields[field].number(value)));
        }
        read.sort_unstable();
        read
    }

    /// The field of this name; `None` if no machine ever had it.
    pub(crate) fn field(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    /// How many values the field has had.
    pub(crate) fn count(&self, field: FieldId) -> usize {
        self.fields[field].values.len()
    }

    pub(crate) fn text(&self, field: FieldId, value: ValueId) -> &str {
        &self.fields[field].values[value]
    }

    /// For a rule that looks at nothing but the value: which values it lets pass. `None` for a rule that counts.
    pub(crate) fn passing(&self, field: FieldId, operator: &Operator) -> Option<Vec<bool>> {
        let values = &self.fields[field].values;
        let all = |passes: &dyn Fn(&String) -> bool| values.iter().map(passes).collect();
        match operator {
            Operator::Is(wanted) => Some(all(&|value| is(value, wanted))),
            Operator::Cluster(Some(wanted)) => Some(all(&|value| value == wanted)),
            Operator::Like(pattern) => {
                let regex = whole(pattern).ok(); // a bad one was refused at the deploy, and would match nothing
                Some(all(&|value| regex.as_ref().is_some_and(|regex| regex.is_match(value))))
            }
            Operator::Unlike(pattern) => {
                let regex = whole(pattern).ok();
                Some(all(&|value| regex.as_ref().is_some_and(|regex| !regex.is_match(value))))
            }
            Operator::Unique | Operator::MaxPer(_) | Operator::Cluster(None) | Operator::GroupBy(_) => None,
        }
    }
}

impl Field {
    fn number(&mut self, value: &str) -> ValueId {
        if let Some(id) = self.ids.get(value) {
            return *id;
        }
        self.ids.insert(value.to_owned(), self.values.len());
        self.values.push(value.to_owned());
        self.values.len() - 1
    }
}

/// Equal as text, or as numbers to a thousandth: `0.8001` is `0.8`, as Marathon has it.
pub(crate) fn is(value: &str, wanted: &str) -> bool {
    fn thousandths(text: &str) -> Option<i64> {
        let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && n.abs() < 1e12)?;
        Some((number * 1000.0).round_ties_even() as i64)
    }
    value == wanted || thousandths(value).is_some_and(|value| Some(value) == thousandths(wanted))
}
