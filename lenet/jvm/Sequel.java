package lenet;

import java.util.ArrayList;
import java.util.List;
import org.apache.spark.OneToOneDependency;
import org.apache.spark.Partition;
import org.apache.spark.SparkContext;
import org.apache.spark.TaskContext;
import org.apache.spark.rdd.RDD;
import org.apache.spark.rdd.ZippedPartitionsPartition;
import scala.collection.Iterator;
import scala.collection.JavaConverters;
import scala.collection.Seq;
import scala.reflect.ClassTag;

/** An RDD whose tasks compute a partition of another one before their own. */
final class Sequel extends RDD {
    private final RDD first;
    private final RDD second;

    /**
     * @param context of both
     * @param first whose elements are of no interest
     * @param second whose elements this one has: zipped partitions, of the first one's parent as the
     *     second of two
     * @param tag of the elements
     */
    Sequel(SparkContext context, RDD first, RDD second, ClassTag tag) {
        super(context, dependencies(first, second), tag);
        this.first = first;
        this.second = second;
    }

    private static Seq dependencies(RDD first, RDD second) {
        List both = new ArrayList();
        both.add(new OneToOneDependency(first));
        both.add(new OneToOneDependency(second));
        return (Seq) JavaConverters.asScalaBufferConverter(both).asScala();
    }

    @Override
    public Partition[] getPartitions() {
        return second.partitions();
    }

    @Override
    public Iterator compute(Partition split, TaskContext context) {
        Partition part = (Partition) ((ZippedPartitionsPartition) split).partitions().apply(1);
        Iterator elements = first.iterator(part, context);
        while (elements.hasNext()) {
            elements.next();
        }
        return second.iterator(split, context);
    }
}
