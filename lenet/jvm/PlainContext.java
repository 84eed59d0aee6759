package lenet;

import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;

/**
 * A SparkContext that hands DistriOptimizer's closures on as they are.
 *
 * <p>Spark reads the byte code of a closure's class, and of the classes around it, again for every
 * job, to find references that a closure of Scala's shell does not need. That is four fifths of
 * what an iteration of DistriOptimizer costs beside computing. It is safe to leave out here: BigDL
 * is compiled for Scala 2.12, whose closures are lambdas of the JVM that capture what they use and
 * nothing else; those the cleaner only inspects, unless a shell has made them. The second thing it
 * does, trying whether a closure can be serialised, the scheduler does again when it serialises
 * the closure for the executors, and then fails the job with the same "Task not serializable".
 * The context exists on the driver alone; executors run what they are sent, as ever.
 */
public class PlainContext extends SparkContext {
    public PlainContext(SparkConf conf) {
        super(conf);
    }

    @Override
    public Object clean(Object closure, boolean checkSerializable) {
        return closure;
    }
}
