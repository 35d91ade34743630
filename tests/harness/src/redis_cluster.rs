//! Redis in cluster mode: three masters that share the 16 384 slots, without replicas. ElastiCache Serverless behaves like this
//! cluster. Only a cluster rejects a command with keys in two slots.

use std::time::Duration;

use crate::cache_user::CacheUser;
use crate::eventually::eventually;
use crate::loopback_port;
use crate::redis_server::RedisServer;

/// The first and the last slot of each node. The protocol fixes the total number of slots.
const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// The time limit for forming a cluster. Three servers need less time.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running cluster. Dropping it ends its processes.
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the nodes and returns when each of them reports a complete cluster.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        let mut bus_ports = Vec::new();
        for (epoch, (first, last)) in SLOTS.iter().enumerate() {
            let bus_port = loopback_port::reserve().to_string();
            let node = RedisServer::builder()
                .setting("cluster-enabled", "yes")
                .setting("cluster-port", &bus_port)
                .setting("cluster-node-timeout", "1000")
                .start()
                .await;
            node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last])
                .await;
            // Each node gets a different epoch, so that the nodes have no conflict to resolve when they meet.
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(epoch + 1).to_string()])
                .await;
            nodes.push(node);
            bus_ports.push(bus_port);
        }
        for (node, bus_port) in nodes.iter().zip(&bus_ports).skip(1) {
            let port = node.port().to_string();
            nodes[0]
                .command(&["CLUSTER", "MEET", "127.0.0.1", &port, bus_port])
                .await;
        }
        let cluster = Self { nodes };
        eventually(DEADLINE, async || cluster.is_complete().await).await;
        cluster
    }

    /// The URL of one node, from which a client discovers the others.
    pub fn url(&self) -> String {
        self.nodes[0].url()
    }

    /// Adds a user of the template to every node. Returns the cluster's URL with this user.
    pub async fn url_as(&self, user: CacheUser) -> String {
        let (name, password) = (user.name(), format!(">{}", user.name()));
        let rules = user.rules();
        let mut command = vec!["ACL", "SETUSER", name, &password];
        command.extend(rules.split(' '));
        for node in &self.nodes {
            node.command(&command).await;
        }
        self.nodes[0].url_with(name, name)
    }

    /// The three masters, in slot order.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The keys on all nodes that match a pattern, sorted.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys = Vec::new();
        for node in &self.nodes {
            keys.extend(node.keys(pattern).await);
        }
        keys.sort();
        keys
    }

    async fn is_complete(&self) -> bool {
        for node in &self.nodes {
            let info: String = node.query(&["CLUSTER", "INFO"]).await;
            if !info.contains("cluster_state:ok") || !info.contains("cluster_known_nodes:3") {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::RedisCluster;

    #[tokio::test]
    async fn every_slot_stores_a_key() {
        let cluster = RedisCluster::start().await;
        let client = redis::cluster::ClusterClient::new([cluster.url()]).expect("the URL is valid");
        let mut connection = client
            .get_async_connection()
            .await
            .expect("the cluster is complete");
        for key in ["a", "b", "c", "d", "e", "f"] {
            let set = redis::cmd("SET")
                .arg(key)
                .arg("1")
                .query_async::<()>(&mut connection)
                .await;
            set.expect("some node has the slot");
        }
        assert_eq!(cluster.keys("*").await, ["a", "b", "c", "d", "e", "f"]);
    }
}
