//! The estate's items as the store's objects, and back.
use deputize_core::estate::Item;
use store::Object;

macro_rules! same_names {
    ($($name:ident),*) => {
        pub(super) fn object(item: Item) -> Object {
            match item { $(Item::$name(it) => Object::$name(it)),* }
        }

        pub(super) fn item(object: Object) -> Item {
            match object { $(Object::$name(it) => Item::$name(it)),* }
        }
    };
}
same_names!(Tenant, Application, ServicePrincipal, User, Group, Grant, Assignment, Policy);
