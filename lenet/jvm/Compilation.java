package lenet;

import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import javax.management.ObjectName;

/**
 * Keeps the JVM's optimising compiler, C2, to the loops that need it.
 *
 * <p>A training of some seconds runs for the greater part of them beside C2, which takes a whole
 * core to make the most of Spark's code: what an iteration has of that is as fast by the quick
 * compiler, C1. Where the JVM has no such command (Java 8, or another one than HotSpot), all stays
 * as it is.
 */
public final class Compilation {
    private static final String DIRECTIVES = "["
            + "{match: [\"lenet/*.*\", \"com/intel/analytics/bigdl/dllib/optim/parameters/*.*\"],"
            + " c2: {Exclude: false}},"
            + "{match: \"*.*\", c2: {Exclude: true}}]";

    static {
        try {
            Path file = Files.createTempFile("compiler", ".json");
            Files.write(file, Collections.singleton(DIRECTIVES));
            ManagementFactory.getPlatformMBeanServer().invoke(
                    new ObjectName("com.sun.management:type=DiagnosticCommand"),
                    "compilerDirectivesAdd",
                    new Object[] {new String[] {file.toString()}},
                    new String[] {String[].class.getName()});
            Files.delete(file);
        } catch (Exception slower) {
            // Compiled as ever.
        }
    }

    private Compilation() {
    }

    /** Does it, once in a JVM. */
    public static void begin() {
    }
}
