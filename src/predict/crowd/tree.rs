//! Who has the stream from whom at the moment: lists of children, and the order in which an item passes them.

/// A node: the broadcaster, the CDN, or a viewer.
pub(super) type Node = u32;
pub(super) const BROADCASTER: Node = 0;
pub(super) const CDN: Node = 1;
/// Nodes before the first viewer.
pub(super) const FIRST: Node = 2;
pub(super) const NOBODY: Node = Node::MAX;

/// Whom a node has the stream from, and who is beside and below it.
#[derive(Debug, Clone, Copy)]
struct Links {
    source: Node,
    first_child: Node,
    last_child: Node,
    next: Node,
    before: Node,
}

const ALONE: Links = Links { source: NOBODY, first_child: NOBODY, last_child: NOBODY, next: NOBODY, before: NOBODY };

/// Who has the stream from whom at the moment.
#[derive(Debug)]
pub(super) struct Served {
    links: Vec<Links>,
    /// Of each root, the order of its tree, while that holds.
    orders: [Option<Order>; 2],
}

/// A tree, level by level: every node that has children, and its children one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    /// Parents with how many children they have; the root is the first.
    pub parents: Vec<(Node, u32)>,
    /// The children of all of them, in that order.
    pub children: Vec<Node>,
}

impl Served {
    pub fn of(viewers: usize) -> Self {
        Self { links: vec![ALONE; viewers + FIRST as usize], orders: [None, None] }
    }

    fn at(&mut self, node: Node) -> &mut Links {
        &mut self.links[node as usize]
    }

    /// Who serves it; [`NOBODY`] may.
    pub fn source(&self, node: Node) -> Node {
        self.links[node as usize].source
    }

    pub fn children(&self, node: Node) -> impl Iterator<Item = Node> {
        let present = |at: Node| (at != NOBODY).then_some(at);
        std::iter::successors(present(self.links[node as usize].first_child), move |at| {
            present(self.links[*at as usize].next)
        })
    }

    /// Nobody serves it any more.
    pub fn part(&mut self, node: Node) {
        let Links { source, next, before, .. } = self.links[node as usize];
        if source == NOBODY {
            return;
        }
        match before {
            NOBODY => self.at(source).first_child = next,
            before => self.at(before).next = next,
        }
        match next {
            NOBODY => self.at(source).last_child = before,
            next => self.at(next).before = before,
        }
        let links = self.at(node);
        (links.source, links.next, links.before) = (NOBODY, NOBODY, NOBODY);
        self.orders = [None, None];
    }

    /// It is served by another one, after that one's other children; the CDN serves those first who came last.
    pub fn join(&mut self, node: Node, source: Node) {
        self.part(node);
        let Links { first_child, last_child, .. } = self.links[source as usize];
        let (before, next) = if source == CDN { (NOBODY, first_child) } else { (last_child, NOBODY) };
        let links = self.at(node);
        (links.source, links.before, links.next) = (source, before, next);
        match before {
            NOBODY => self.at(source).first_child = node,
            before => self.at(before).next = node,
        }
        match next {
            NOBODY => self.at(source).last_child = node,
            next => self.at(next).before = node,
        }
        self.orders = [None, None];
    }

    /// Whether one is served by another, or by somebody whom that one serves, and so on.
    pub fn is_below(&self, node: Node, above: Node) -> bool {
        std::iter::successors(Some(node), |at| Some(self.source(*at)).filter(|source| *source != NOBODY))
            .any(|at| at == above)
    }

    /// Takes the order of a root's tree; [`Served::keep`] gives it back.
    pub fn order(&mut self, root: Node) -> Order {
        self.orders[root as usize].take().unwrap_or_else(|| self.below(root))
    }

    pub fn keep(&mut self, root: Node, order: Order) {
        self.orders[root as usize] = Some(order);
    }

    /// The order of a subtree.
    pub fn below(&self, root: Node) -> Order {
        let mut order = Order::default();
        let mut at = root;
        let mut next = 0;
        loop {
            let before = order.children.len();
            order.children.extend(self.children(at));
            let count = order.children.len() - before;
            if count > 0 {
                order.parents.push((at, count as u32));
            }
            match order.children.get(next) {
                Some(child) => at = *child,
                None => return order,
            }
            next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_served_in_the_order_in_which_they_came() {
        let mut served = Served::of(6);
        for node in 2..5 {
            served.join(node, BROADCASTER);
        }
        served.join(5, 3);
        served.join(6, CDN);
        served.join(7, CDN);
        assert_eq!(served.children(BROADCASTER).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(served.children(CDN).collect::<Vec<_>>(), [7, 6]);
        let order = served.order(BROADCASTER);
        assert_eq!((order.parents, order.children), (vec![(0, 3), (3, 1)], vec![2, 3, 4, 5]));
        // With all that is below it.
        served.join(3, 4);
        assert!(served.is_below(5, 4) && !served.is_below(5, 2) && served.is_below(5, 5));
        served.part(2);
        assert_eq!(served.order(BROADCASTER).children, [4, 3, 5]);
        served.part(3);
        assert_eq!((served.source(3), served.source(5)), (NOBODY, 3));
        assert_eq!(served.order(BROADCASTER).children, [4]);
        served.part(7);
        assert_eq!(served.children(CDN).collect::<Vec<_>>(), [6]);
    }
}
