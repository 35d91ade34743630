import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/**
 * Starts mongo-java-server for the tests. When the server listens, this program prints the server's port. The program ends when its
 * standard input ends, so that it never outlives the test process. `java -cp 'jars/*' Launcher.java` runs it without a compile step.
 */
class Launcher {
    /** The version that the server reports. The server's default, wire version 8, is too old for current drivers. */
    static final MongoVersion VERSION = new MongoVersion() {
        @Override public List<Integer> getVersionArray() { return List.of(5, 0, 0); }
        @Override public int getWireVersion() { return 13; }
    };

    public static void main(String[] arguments) throws Exception {
        MemoryBackend backend = new MemoryBackend();
        backend.version(VERSION);
        MongoServer server = new MongoServer(backend);
        server.bind("127.0.0.1", 0);
        System.out.println("port " + server.getLocalAddress().getPort());
        while (System.in.read() != -1) { }
        System.exit(0);
    }
}
