package lenet;

import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.rdd.MapPartitionsRDD;
import org.apache.spark.rdd.RDD;
import org.apache.spark.rdd.ZippedPartitionsRDD2;
import scala.Function1;
import scala.Function2;
import scala.collection.Seq;
import scala.reflect.ClassTag;

/**
 * A SparkContext that spares DistriOptimizer's iterations what they need not wait for.
 *
 * <p>It hands closures on as they are. Spark reads the byte code of a closure's class, and of the
 * classes around it, again for every job, to find references that a closure of Scala's shell does
 * not need. That is four fifths of what an iteration of DistriOptimizer costs beside computing. It
 * is safe to leave out here: BigDL is compiled for Scala 2.12, whose closures are lambdas of the
 * JVM that capture what they use and nothing else; those the cleaner only inspects, unless a shell
 * has made them. The second thing it does, trying whether a closure can be serialised, the
 * scheduler does again when it serialises the closure for the executors, and then fails the job
 * with the same "Task not serializable".
 *
 * <p>Where one executor has all weights, it does in one job what DistriOptimizer does in two. Each
 * iteration is a job that computes gradients, of which executors send each other the parts, and a
 * job that updates the weights, for which these must all be there. With a single executor nobody
 * waits for another's part. So the update, whose result DistriOptimizer does not look at, is put
 * off, and runs at the beginning of the next job: in the same task as the next iteration, else in
 * a job of its own before any other. What the update's closure reads of the driver is then that
 * of the iteration after; Momentum, which alone is updated with, does not go by it.
 *
 * <p>The context exists on the driver alone; executors run what they are sent, as ever.
 */
public class TrainingContext extends SparkContext {
    /** What DistriOptimizer keeps on the executors, where the last job computed gradients. */
    private RDD computed;
    private RDD update;
    private Function1 updateFunction;
    private ClassTag updateTag;

    public TrainingContext(SparkConf conf) {
        super(conf);
    }

    @Override
    public Object clean(Object closure, boolean checkSerializable) {
        return closure;
    }

    /** RDD.count among others, which is how DistriOptimizer updates weights. */
    @Override
    public Object runJob(RDD rdd, Function1 function, ClassTag tag) {
        if (computed == null || parent(rdd) != computed || computed.partitions().length > 1) {
            return super.runJob(rdd, function, tag);
        }
        computed = null;
        update = rdd;
        updateFunction = function;
        updateTag = tag;
        return new long[1];
    }

    /** Every job in the end, RDD.reduce among others, by which DistriOptimizer computes gradients. */
    @Override
    public void runJob(RDD rdd, Function2 function, Seq partitions, Function2 handler, ClassTag tag) {
        RDD models = rdd instanceof ZippedPartitionsRDD2 ? ((ZippedPartitionsRDD2) rdd).rdd2() : null;
        RDD first = update;
        RDD job = rdd;
        update = null;
        computed = null;
        if (first != null && parent(first) == models) {
            job = new Sequel(this, first, rdd, tag);
        } else if (first != null) {
            super.runJob(first, updateFunction, updateTag);
        }
        super.runJob(job, function, partitions, handler, tag);
        computed = models;
    }

    private static RDD parent(RDD rdd) {
        return rdd instanceof MapPartitionsRDD ? ((MapPartitionsRDD) rdd).prev() : null;
    }
}
